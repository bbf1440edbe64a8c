//go:build !unix || aix || illumos || solaris

package registry

import "os"

// dirLock is nothing here. On Windows there is no need for it: a file that is open cannot be removed or replaced.
type dirLock struct{ held bool }

func lockDir(string, bool) (dirLock, error) { return dirLock{true}, nil }

func (*dirLock) is(os.FileInfo) bool { return true }

func (*dirLock) release() {}
