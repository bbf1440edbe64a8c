package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/virtnet/virtnet/internal/hostname"
)

const (
	modeBase    = 0o777 | os.ModeSticky // every user makes networks, nobody removes another's
	modeNetwork = 0o700                 // a network is its user's own

	// maxPath is what SQLite's unix VFS takes, less the longest suffix it appends. It says no more than "unable
	// to open" beyond that.
	maxPath = 512 - len("-journal") - 1
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

// makeNetwork makes sure that the directory of the network is there and is this user's. Without a name it
// makes a new network's directory. It returns the network's name.
func makeNetwork(base, network string) (string, error) {
	if network != "" {
		if err := checkName(network); err != nil {
			return "", err
		}
	}
	if err := makeBase(base); err != nil {
		return "", err
	}
	for isNew := network == ""; ; {
		if isNew {
			network = strconv.FormatUint(rand.Uint64(), 36)
		}
		dir := filepath.Join(base, network)
		if n := len(registryPath(dir)); n > maxPath {
			return "", fmt.Errorf("network name: %s is %d bytes long, at most %d are possible", registryPath(dir), n, maxPath)
		}
		err := os.Mkdir(dir, modeNetwork)
		if errors.Is(err, fs.ErrExist) && isNew {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", explainMkdir(base, err)
		}
		fi, err := checkNetwork(dir)
		if err != nil {
			return "", err
		}
		return network, setMode(dir, fi, modeNetwork)
	}
}

// makeBase makes the directory of all networks. One that is already there is used as it is, unless it is
// this user's own: then its mode is put right, so that other users can have networks too.
func makeBase(base string) error {
	if err := os.Mkdir(base, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(base)
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

func explainMkdir(base string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %s does not let this user make networks; have its owner run chmod 1777 on it, "+
			"or use another temporary directory", err, base)
	}
	return err
}

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
		return nil, fmt.Errorf("%s belongs to another user: choose another name for the network", dir)
	}
	return fi, nil
}

func registryPath(dir string) string { return filepath.Join(dir, "registry.db") }
