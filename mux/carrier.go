package mux

import (
	"io"
	"net"
	"time"
)

// A carrier is the connection below a session.
type carrier struct {
	io.ReadWriteCloser
	net    net.Conn  // the same, if it is one
	gone   bool      // it is not the session's any more; the reader's lock guards it
	direct bool      // a Write that a deadline interrupts tells exactly what it has written, and the next may go on
	stream *Stream   // the same, if it is one of another session
	frames [][]byte  // memory for what goes to the stream at once
	vec    vecWriter // the same, if it is one
	stops  bool      // a Read can be interrupted by a deadline; some, such as those of ssh, only look like a net.Conn
}

// A vecWriter is a net.Conn that says of itself that it is direct, and writes several slices in one go. That takes time, as it encrypts.
type vecWriter interface {
	WriteBuffers(*net.Buffers) (int64, error)
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
	case *Stream:
		carrier.direct, carrier.stream = true, c
		c.carry()
	case vecWriter:
		carrier.direct, carrier.vec = nc != nil, c
	}
	return carrier
}

// quick tells whether the carrier takes little time itself, as one does that encrypts.
func (c *carrier) quick() bool {
	for c.stream != nil {
		c = c.stream.s.current()
	}
	return c.direct && c.vec == nil
}

// closeWrite tells the other end that nothing more comes, if the carrier can do that.
func (c *carrier) closeWrite() {
	if c, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// writeVec writes several slices in one go, if the carrier can do that. What was not written is in vec then.
func (c *carrier) writeVec(vec *net.Buffers) (n int64, err error) {
	if c.stream != nil {
		return c.stream.writeVec(vec, &c.frames)
	}
	if c.vec != nil {
		return c.vec.WriteBuffers(vec)
	}
	return vec.WriteTo(c.ReadWriteCloser)
}
