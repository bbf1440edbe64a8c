package registry

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// State is what the mark of an address tells about the process that accepts there.
type State int

const (
	// Unmarked: there is no mark. The process is one that leaves none, or it is gone; only asking it tells.
	Unmarked State = iota
	// Gone: the process that left the mark has ended.
	Gone
	// Running: the process lives; it may be stopped.
	Running
)

func (s State) String() string {
	switch s {
	case Gone:
		return "gone"
	case Running:
		return "running"
	}
	return "unmarked"
}

// ErrMarked says that another process still holds the mark of the address that Open was given: it is about to
// close, or a child that it forked lives on. Another port does.
var ErrMarked = errors.New("another process holds the mark of this port")

// markWait is how long a process waits for the mark of its port. Those who look at a mark hold it for
// microseconds, an owner that is closing for closeWait.
const markWait = 500 * time.Millisecond

// A mark is a file that a process holds locked while it lives.
type mark struct {
	path string
	lock *flock.Flock
	file fs.FileInfo // which is locked
}

func markPath(dir string, port uint16) string {
	return filepath.Join(dir, strconv.Itoa(int(port))+".live")
}

// markPort is the inverse of markPath, for a name in the directory.
func markPort(name string) (port uint16, ok bool) {
	digits, ok := strings.CutSuffix(name, ".live")
	if !ok {
		return 0, false
	}
	return parsePort(digits)
}

// takeMark makes the mark and locks it.
func takeMark(ctx context.Context, path string) (*mark, error) {
	limited, cancel := context.WithTimeout(ctx, markWait)
	defer cancel()
	for {
		m, _, err := lockMark(path, os.O_CREATE|os.O_RDWR)
		if m != nil || err != nil {
			return m, err
		}
		// Held, or removed between our making and our locking it.
		if sleep(limited, nil, backoff(0)) != nil {
			return nil, cmp.Or(ctx.Err(), ErrMarked)
		}
	}
}

// lockMark tries to lock the mark for ourselves. The mark it returns is nil when it did not succeed: state is
// Running if it is held, Unmarked if it is not there.
func lockMark(path string, flag int) (_ *mark, state State, _ error) {
	m := &mark{path: path, lock: flock.New(path, flock.SetFlag(flag))}
	locked, err := m.lock.TryLock()
	switch {
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE == 0:
		return nil, Unmarked, nil
	case err != nil:
		return nil, Unmarked, err
	case !locked:
		return nil, Running, nil
	}
	if m.file, err = m.lock.Stat(); err == nil && m.linked() {
		return m, Gone, nil
	}
	return nil, Unmarked, errors.Join(err, m.lock.Unlock())
}

// linked tells whether the file that is locked is still the one at the path.
func (m *mark) linked() bool {
	there, err := os.Stat(m.path)
	return err == nil && os.SameFile(m.file, there)
}

// unlock lets go of the mark and leaves the file.
func (m *mark) unlock() error { return m.lock.Unlock() }

// remove removes the file and lets go of it.
func (m *mark) remove() error {
	if runtime.GOOS == "windows" {
		// An open file cannot be removed. Once it is closed, it can be only while nobody else has it open, so
		// this never removes the mark of a next owner.
		err := m.lock.Unlock()
		os.Remove(m.path)
		return err
	}
	// Removed while locked: whoever opened it before finds it locked, or unlinked (see linked).
	var err error
	if m.linked() {
		err = os.Remove(m.path)
	}
	return errors.Join(err, m.lock.Unlock())
}

// checkMark looks at a mark without making or keeping it.
func checkMark(path string) (State, error) {
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Unmarked, nil
	case err != nil:
		return Unmarked, err
	case !free:
		return Running, nil
	}
	return Gone, l.Unlock()
}

// parseAddr returns the port of an address "127.0.0.1:port". No other is ever connected to: what the rows of
// the registry hold was written by others.
func parseAddr(osladdr string) (port uint16, ok bool) {
	digits, ok := strings.CutPrefix(osladdr, "127.0.0.1:")
	if !ok {
		return 0, false
	}
	return parsePort(digits)
}

// parsePort takes the one way to write a port, so that equal ports are equal texts.
func parsePort(digits string) (port uint16, ok bool) {
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil && n != 0 && digits[0] != '0'
}
