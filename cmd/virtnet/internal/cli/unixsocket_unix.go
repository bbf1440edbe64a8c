//go:build unix

package cli

import "syscall"

// privateFiles keeps everybody else out of files that the process makes, until restore is called.
func privateFiles() (restore func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}
