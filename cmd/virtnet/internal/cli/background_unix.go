//go:build unix

package cli

import (
	"errors"
	"os/signal"
	"syscall"
)

// readInBackground makes reading from the terminal fail while another job has that, until restore is called. Otherwise the
// system stops the process, and the connection with it.
func readInBackground() (restore func()) {
	signal.Ignore(syscall.SIGTTIN)
	return func() { signal.Reset(syscall.SIGTTIN) }
}

// isInBackground tells whether an error of reading from a terminal says that another job has it.
func isInBackground(err error) bool { return errors.Is(err, syscall.EIO) }
