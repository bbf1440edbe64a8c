package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// A fileSet is which files an open registry has, the mark included: those that were there when it was opened. As long as
// it is open SQLite removes none of them. They may be stat'ed but not opened, since POSIX locks of this process, which
// SQLite's are, go with any descriptor that is closed.
type fileSet struct {
	dir, db, wal, shm, mark fs.FileInfo // nil if not there

	// calm is the directory's time of change, in Unix nanoseconds, at which all was in place: while it is the same
	// nothing has come or gone. 0 says nothing. Atomic, because whoever looks may set it.
	calm atomic.Int64
}

func registryPath(dir string) string { return filepath.Join(dir, "registry.db") }

// statRegistry looks which files there are now of a registry, dir and mark aside.
func statRegistry(path string) (f *fileSet, err error) {
	f = new(fileSet)
	if f.db, err = statFile(path); err == nil {
		f.wal, err = statFile(path + "-wal")
	}
	if err == nil {
		f.shm, err = statFile(path + "-shm")
	}
	return f, err
}

// statFile returns which file is at a path, nil if none is.
func statFile(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return fi, err
}

// inPlace tells whether the paths still lead to these files. Usually that is one system call.
func (f *fileSet) inPlace(dir string, port uint16) bool {
	now := time.Now()
	fi, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	changed := fi.ModTime()
	if changed.UnixNano() == f.calm.Load() && sameFile(fi, f.dir) {
		return true
	}
	there, err := statRegistry(registryPath(dir))
	if err != nil || !f.sameRegistry(there) {
		return false
	}
	if mark, err := statFile(markPath(dir, port)); err != nil || !sameFile(f.mark, mark) {
		return false
	}
	if age := now.Sub(changed); age < 0 || age > tick(changed) {
		f.calm.Store(changed.UnixNano())
	}
	return true
}

// tick is how long ago a directory must have changed for its next change to be of another time: the clocks of file systems
// go in steps of milliseconds, of some in steps of two seconds.
func tick(changed time.Time) time.Duration {
	if changed.Nanosecond() == 0 {
		return 3 * time.Second
	}
	return 20 * time.Millisecond
}

func (f *fileSet) sameRegistry(other *fileSet) bool {
	return sameFile(f.db, other.db) && sameFile(f.wal, other.wal) && sameFile(f.shm, other.shm)
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b)
}

// companionOf tells whether one of these companions of SQLite's is there.
func (f *fileSet) companionOf(there *fileSet) bool {
	return f.wal != nil && sameFile(f.wal, there.wal) || f.shm != nil && sameFile(f.shm, there.shm)
}

// discard removes the registry at path, for who has the turn alone. registry.db goes last: what is left beside one that
// somebody makes meanwhile would be taken for a part of it.
func discard(path string) error {
	if err := discardCompanions(path); err != nil {
		return err
	}
	return removeFile(path)
}

// discardCompanions removes what SQLite has put beside a registry, likewise.
func discardCompanions(path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := removeFile(path + suffix); err != nil {
			return err
		}
	}
	return nil
}

// removeFile removes a file that need not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
