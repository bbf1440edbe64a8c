package mux

import (
	"io"
	"net"
	"time"
)

// A carrier is the connection below a session.
type carrier struct {
	io.ReadWriteCloser
	net    net.Conn // the same, if it is one
	gone   bool     // it is not the session's any more; the reader's lock guards it
	direct bool     // a Write that a deadline interrupts tells exactly what it has written, and the next may go on
	stops  bool     // a Read can be interrupted by a deadline; some, such as those of ssh, only look like a net.Conn
}

func newCarrier(c io.ReadWriteCloser) *carrier {
	nc, _ := c.(net.Conn)
	carrier := &carrier{ReadWriteCloser: c, net: nc}
	carrier.stops = nc != nil && nc.SetReadDeadline(time.Time{}) == nil
	switch c := c.(type) {
	case *net.TCPConn:
		carrier.direct = true
		keepQueueShort(c)
	case *net.UnixConn:
		carrier.direct = true
	}
	return carrier
}

// closeWrite tells the other end that nothing more comes, if the carrier can do that.
func (c *carrier) closeWrite() {
	if c, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
