//go:build unix

package registry

import (
	"io/fs"
	"os"
	"syscall"
)

// ours tells whether the file belongs to this process's user.
func ours(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// setMode gives a directory of ours its mode, which the umask may have cut.
func setMode(dir string, fi fs.FileInfo, mode fs.FileMode) error {
	if fi.Mode()&(fs.ModePerm|fs.ModeSticky) == mode {
		return nil
	}
	return os.Chmod(dir, mode)
}
