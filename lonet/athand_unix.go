//go:build unix

package lonet

import (
	"io"
	"net"
	"os"
	"syscall"
)

// atHand is a connection of which nothing is read but what has come already: where there is nothing, its Read
// does not wait but fails with os.ErrDeadlineExceeded. It has no deadline.
type atHand struct{ conn *net.TCPConn }

func (c atHand) Read(b []byte) (n int, err error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	err = raw.Control(func(fd uintptr) {
		for {
			if n, rerr = syscall.Read(int(fd), b); rerr != syscall.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case rerr == syscall.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case rerr != nil:
		return 0, os.NewSyscallError("read", rerr)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}
