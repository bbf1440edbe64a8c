//go:build !unix

package registry

import "os"

// dirLock is nothing here, where a file that is open cannot be removed or replaced.
type dirLock struct{ held bool }

func lockDir(string, bool) (dirLock, error) { return dirLock{true}, nil }

func (*dirLock) is(os.FileInfo) bool { return true }

func (*dirLock) release() {}
