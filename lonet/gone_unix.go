//go:build unix

package lonet

import (
	"net"
	"syscall"
)

// isGone tells whether the other end of conn is seen to have gone: reset, or, unless it may end its side,
// ended. It reads nothing and does not wait.
func isGone(conn *net.TCPConn, mayEnd bool) bool {
	gone := false
	peek(conn, func(ended bool, err error) bool {
		gone = ended && !mayEnd || err != nil && err != syscall.EAGAIN
		return true
	})
	return gone
}

// waitGone waits until the other end of conn is gone, and is true then; it is false once there is something to
// read, or conn's read deadline is over.
func waitGone(conn *net.TCPConn, mayEnd bool) bool {
	gone := false
	peek(conn, func(ended bool, err error) bool {
		gone = ended && !mayEnd || err != nil && err != syscall.EAGAIN
		return err != syscall.EAGAIN
	})
	return gone
}

// peek looks at what there is to read on conn, again whenever there may be more, until done is true or the read
// deadline is over. ended says that the other end has closed its side.
func peek(conn *net.TCPConn, done func(ended bool, err error) bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		for {
			n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if err != syscall.EINTR {
				return done(n == 0 && err == nil, err)
			}
		}
	})
}
