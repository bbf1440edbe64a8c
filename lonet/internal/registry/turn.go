package registry

import (
	"context"
	"errors"
	"io/fs"
)

// A turn is a lock on the directory of a network. It keeps apart those who open the registry, who share it, and those
// who make, replace or remove the registry's files, who have it alone. So what the path of registry.db leads to when
// SQLite opens it is what it leads to when SQLite opens -wal and -shm beside it; else two databases could share one
// log. It is held for the moments of doing that, never while other processes are asked anything. The kernel
// drops it with the process.
//
// Programs that know nothing but registry.db take no turns. They hold SQLite's lock on it: see lockDB.
type turn struct {
	lock dirLock
	dir  fs.FileInfo // of the directory
}

// takeTurn takes a turn at a network's directory, and waits for others as long as ctx lives. The directory is this
// user's own, and its path leads to it. An error that is fs.ErrNotExist says that it is not there.
func takeTurn(ctx context.Context, dir string, alone bool) (*turn, error) {
	for n := 0; ; n++ {
		t, err := tryTurn(dir, alone)
		if t != nil || err != nil {
			return t, err
		}
		if err := sleep(ctx, nil, backoff(n)); err != nil {
			return nil, err
		}
	}
}

// tryTurn is one try to take a turn. The turn is nil if others have theirs, or if the directory was just replaced.
func tryTurn(dir string, alone bool) (*turn, error) {
	lock, err := lockDir(dir, alone)
	if err == nil && !lock.held {
		return nil, nil
	}
	there, cerr := checkNetwork(dir)
	switch {
	case cerr != nil: // it says best what is wrong with a directory that cannot be opened
		err = cerr
	case err == nil && lock.is(there):
		return &turn{lock, there}, nil
	}
	lock.release()
	return nil, err
}

// leave ends the turn.
func (t *turn) leave() { t.lock.release() }

// enter takes a turn at a network's directory for a process that means to be on the network. What is missing of the
// directories is made, and their modes are put right.
func enter(ctx context.Context, base, dir string, alone bool) (*turn, error) {
	for {
		if err := makeBase(base); err != nil {
			return nil, err
		}
		t, err := takeTurn(ctx, dir, alone)
		if err == nil {
			if err = setMode(dir, t.dir, modeNetwork); err == nil {
				return t, nil
			}
			t.leave()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		// Others may make it, or remove it again, at the same moment.
		if err := makeIn(ctx, base, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}
