package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/virtnet/virtnet/internal/hostname"
)

const (
	modeBase    = 0o777 | os.ModeSticky // every user makes networks, nobody removes another's
	modeNetwork = 0o700                 // a network is its user's own

	// maxPath is what SQLite's unix VFS takes, less the longest suffix it appends. It says no more than "unable
	// to open" beyond that.
	maxPath = 512 - len("-journal") - 1

	// modeWait is how long a directory of networks may be without its mode: its maker is between two system calls.
	modeWait = 100 * time.Millisecond
)

// Dir returns the directory that holds one directory per network.
func (c Config) Dir() string {
	tmp := c.TempDir
	if tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, "lonet")
}

// checkName tells whether a network can have this name.
func checkName(network string) error {
	if err := hostname.Check(network); err != nil {
		return fmt.Errorf("network name: %w", err)
	}
	return nil
}

// newNetwork makes the directory of a new network with a random name, which it returns.
func newNetwork(ctx context.Context, base string) (string, error) {
	if err := makeBase(base); err != nil {
		return "", err
	}
	for {
		network := strconv.FormatUint(rand.Uint64(), 36)
		if err := makeIn(ctx, base, filepath.Join(base, network)); !errors.Is(err, fs.ErrExist) {
			return network, err
		}
	}
}

// checkPath tells whether SQLite takes the path of a registry.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("network name: %s is %d bytes long, at most %d are possible", path, len(path), maxPath)
	}
	return nil
}

// makeBase makes the directory of all networks. One that is already there is used as it is, unless it is
// this user's own: then its mode is put right, so that other users can have networks too.
func makeBase(base string) error {
	fi, err := os.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(base, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		fi, err = os.Lstat(base)
	}
	if err != nil {
		return err
	}
	// A link is not followed: in a temporary directory anyone could have put it there, and setMode would then
	// open up whatever it points to.
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory (%s): remove it", base, fi.Mode().Type())
	}
	if !ours(fi) {
		return nil
	}
	return setMode(base, fi, modeBase)
}

// makeIn makes the directory of a network in base. If base does not let this user, its owner may have made it just
// now and not given it its mode yet: that is waited for.
func makeIn(ctx context.Context, base, dir string) error {
	for start := time.Now(); ; {
		err := os.Mkdir(dir, modeNetwork)
		switch {
		case !errors.Is(err, fs.ErrPermission):
			return err
		case time.Since(start) > modeWait:
			return fmt.Errorf("%w: %s does not let this user make networks; have its owner run chmod 1777 on it, "+
				"or use another temporary directory", err, base)
		}
		if err := sleep(ctx, nil, backoff(0)); err != nil {
			return err
		}
	}
}

// ErrNotOurs is the error about a network that is another user's.
var ErrNotOurs = errors.New("belongs to another user")

type notOursError struct{ dir string }

func (e *notOursError) Error() string {
	return fmt.Sprintf("%s %v: choose another name for the network", e.dir, ErrNotOurs)
}

func (e *notOursError) Unwrap() error { return ErrNotOurs }

// checkNetwork refuses what is not a directory of this user's own.
func checkNetwork(dir string) (fs.FileInfo, error) {
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil, err
	case fi.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s is a symbolic link: a network must be a directory", dir)
	case !fi.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	case !ours(fi):
		return nil, &notOursError{dir}
	}
	return fi, nil
}
