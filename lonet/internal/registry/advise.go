package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"zombiezen.com/go/sqlite"
)

// advise adds to an error what the system has to do with it, and what the user can do about that. dir is the network's
// directory.
func advise(dir string, err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull:
		err = fmt.Errorf("%w: %w", err, syscall.ENOSPC)
	case sqlite.ResultCantOpen, sqlite.ResultIOErr:
		if cause := attempt(dir); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	case sqlite.ResultReadOnly:
		return fmt.Errorf("%w: make the network's files writable", err)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: make room, or use another temporary directory", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: use another temporary directory", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w: close some, or raise this process's limit", err)
	}
	if _, bare := err.(*fs.PathError); bare && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: use another temporary directory", err)
	}
	return err
}

// attempt does in dir what SQLite does, and returns the system's error, which SQLite keeps to itself.
func attempt(dir string) error {
	const files, size = 4, 64 << 10 // as many as opening takes, and more than a new registry and its log have
	f, err := os.CreateTemp(dir, "attempt-*")
	if err == nil {
		defer os.Remove(f.Name())
		defer f.Close()
	}
	for n := 1; n < files && err == nil; n++ {
		var more *os.File
		if more, err = os.Open(dir); err == nil {
			defer more.Close()
		}
	}
	if err == nil {
		_, err = f.Write(make([]byte, size))
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err // the path is one that nobody knows
	}
	return err
}
