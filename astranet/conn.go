package astranet

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// conn is an end of a connection: a stream of the session between two nodes. There may be millions: addresses are made when
// somebody asks.
type conn struct {
	st          *mux.Stream
	peer        *peer
	network     string // the network argument of the Dial or Bind
	port, other uint32 // of this end, and of the other
	closed      atomic.Bool
}

var (
	_ net.Conn      = (*conn)(nil)
	_ io.ReaderFrom = (*conn)(nil)
	_ io.WriterTo   = (*conn)(nil)
)

// LocalAddr returns this end's address, an *[Addr].
func (c *conn) LocalAddr() net.Addr {
	n := c.peer.node
	return &Addr{Net: c.network, Host: n.id, Port: c.port, Node: n.name}
}

// RemoteAddr returns the other end's address, an *[Addr].
func (c *conn) RemoteAddr() net.Addr {
	return &Addr{Net: c.network, Host: c.peer.id, Port: c.other, Node: c.peer.name}
}

// NetConn returns the stream that carries the connection, a *mux.Stream.
func (c *conn) NetConn() net.Conn { return c.st }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.st.Read(p)
	return n, c.opError("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.st.Write(p)
	return n, c.opError("write", err)
}

// WriteTo is for io.Copy.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	n, err := c.st.WriteTo(w)
	return n, c.copyError("read", err)
}

// ReadFrom is for io.Copy.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.st.ReadFrom(r)
	return n, c.copyError("write", err)
}

// Close closes the connection: what was written arrives, and then the end. A second Close returns nil.
func (c *conn) Close() error {
	c.closed.Store(true)
	return c.opError("close", c.st.Close())
}

// CloseWrite ends what this end sends: the other end reads io.EOF after it. A second CloseWrite returns nil. It fails if the connection
// has ended before.
func (c *conn) CloseWrite() error {
	err := c.st.CloseWrite()
	switch end := c.st.Session().Err(); {
	case c.closed.Load():
		err = net.ErrClosed
	case end != nil:
		err = end
	}
	return c.opError("close", err)
}

// CloseRead ends reading: what the other end still writes is dropped, and its Writes fail.
func (c *conn) CloseRead() error { return c.opError("close", c.st.CloseRead()) }

func (c *conn) SetDeadline(t time.Time) error      { return c.opError("set", c.st.SetDeadline(t)) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.opError("set", c.st.SetReadDeadline(t)) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.opError("set", c.st.SetWriteDeadline(t)) }

// copyError is opError for an error that may be of what was copied to or from.
func (c *conn) copyError(op string, err error) error {
	if oe, ok := err.(*net.OpError); ok && oe.Net == "mux" {
		return c.opError(oe.Op, err)
	}
	return err
}

// opError gives an error of the stream the connection's addresses, and the node's reasons.
func (c *conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	err = bare(err)
	if se, ok := errors.AsType[*mux.SessionError](err); ok {
		err = c.peer.lost(se)
	}
	if c.closed.Load() {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
