//go:build unix

package registry

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ours tells whether the file belongs to this process's user.
func ours(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// setMode gives a directory of ours its mode, which the umask may have cut. What fi was found out about may have
// been swapped since, where the directory above is another user's: so the mode is that of what is opened, which is no
// link, and looked at again.
func setMode(dir string, fi fs.FileInfo, mode fs.FileMode) error {
	if fi.Mode()&(fs.ModePerm|fs.ModeSticky) == mode {
		return nil
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil {
		return err
	}
	if !ours(fi) {
		return fmt.Errorf("%s has become another user's", dir)
	}
	return f.Chmod(mode)
}
