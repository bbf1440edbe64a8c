//go:build unix

package registry

import (
	"io/fs"
	"os"
	"syscall"
)

// dirLock is flock(2) of the directory itself: there is no file that would have to be removed with it. The zero value is
// no lock.
type dirLock struct {
	held bool
	fd   int
	file syscall.Stat_t
}

// lockDir tries to lock a directory. The lock is none if others keep it from that.
func lockDir(dir string, alone bool) (dirLock, error) {
	fd, err := retried(func() (int, error) {
		return syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return dirLock{}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	l := dirLock{held: true, fd: fd}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	_, err = retried(func() (int, error) { return 0, syscall.Flock(fd, how|syscall.LOCK_NB) })
	if err == nil {
		err = syscall.Fstat(fd, &l.file)
	}
	if err == nil {
		return l, nil
	}
	l.release()
	if err == syscall.EWOULDBLOCK {
		return dirLock{}, nil
	}
	return dirLock{}, &fs.PathError{Op: "lock", Path: dir, Err: err}
}

// is tells whether this is the directory that is locked.
func (l *dirLock) is(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Dev == l.file.Dev && st.Ino == l.file.Ino
}

func (l *dirLock) release() {
	if l.held {
		_ = syscall.Close(l.fd)
	}
}

// retried makes a system call again as long as signals interrupt it.
func retried(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != syscall.EINTR {
			return n, err
		}
	}
}
