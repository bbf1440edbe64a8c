package netem

import (
	"io"
	"syscall"
)

// What a fault does to an operation. The texts are those of a TCP socket on Unix, on every system.
var (
	errReset error = &failure{"connection reset by peer", []error{syscall.ECONNRESET}}
	errPipe  error = &failure{"broken pipe", []error{syscall.EPIPE, io.ErrClosedPipe}}
)

// failure is an error with the standard errors that it also is.
type failure struct {
	text string
	is   []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.is }
