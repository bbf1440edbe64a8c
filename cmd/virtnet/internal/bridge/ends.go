package bridge

import (
	"errors"
	"net"
)

// CloseWrite ends what this end sends on c, and nothing else. The error is errors.ErrUnsupported if c has no half
// close.
func CloseWrite(c net.Conn) error {
	hc, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return hc.CloseWrite()
}

// Guard makes closing c a reset from now on, where c runs on TCP: also the closing that the kernel does when it
// has killed the process, so that the other end does not take that for the end of what was to come. CloseWrite remains
// a good end.
func Guard(c net.Conn) { setLinger(c, 0) }

// unguard takes Guard back.
func unguard(c net.Conn) { setLinger(c, -1) }

// Close closes c in good order, guarded or not: what was written still gets to the other end.
func Close(c net.Conn) error {
	unguard(c)
	return c.Close()
}

// Reset closes c so that the other end gets an error, where c's carrier can reset: TCP, or one that has a method
// Reset() error. Otherwise it closes it.
func Reset(c net.Conn) {
	Guard(c)
	if r, ok := carrier(c).(interface{ Reset() error }); ok {
		_ = r.Reset()
	}
	_ = c.Close()
}

func setLinger(c net.Conn, sec int) {
	if l, ok := carrier(c).(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(sec) // it fails if c is closed
	}
}

// carrier returns the connection on which c runs: that below a virtual network's.
func carrier(c net.Conn) net.Conn {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = w.NetConn()
	}
}
