//go:build !unix

package cli

// privateFiles does nothing: where there is no umask, a file is as private as its directory.
func privateFiles() (restore func()) { return func() {} }
