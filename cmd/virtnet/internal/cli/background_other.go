//go:build !unix

package cli

// readInBackground does nothing: there are no jobs.
func readInBackground() (restore func()) { return func() {} }

func isInBackground(error) bool { return false }
