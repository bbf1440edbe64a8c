package vdns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is a connection to a server, as over TCP: messages have their length in front (RFC 1035, section 4.2.2). It is
// for a client that writes a query and then reads the answer, as a net.Resolver does. The reader's goroutine
// does the server's work, so that no other is needed, and none can be left over.
type conn struct {
	server *server
	ctx    context.Context // ends with the dialler's, for that is the lookup's, and when the connection is closed
	cancel context.CancelFunc

	mu       sync.Mutex // never held while the server works
	in, out  []byte     // what was written, and of the answers what is not read yet
	deadline time.Time
}

var _ net.Conn = (*conn)(nil)

// maxIn bounds what is written and not read: a query, with some to spare.
const maxIn = 1 << 16

func newConn(ctx context.Context, s *server) *conn {
	c := &conn{server: s}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// Write takes (parts of) queries. It never waits.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.ended(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.in)+len(b) > maxIn {
		return 0, io.ErrShortWrite
	}
	c.in = append(c.in, b...)
	return len(b), nil
}

// Read reads the answer to what was written. Where there is nothing to answer it is io.EOF: the server has hung up.
func (c *conn) Read(b []byte) (int, error) {
	if err := c.ended(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	if len(c.out) == 0 {
		query, ok := c.cutQuery()
		ctx, cancel := c.ctx, context.CancelFunc(func() {})
		if !c.deadline.IsZero() {
			ctx, cancel = context.WithDeadline(ctx, c.deadline)
		}
		c.mu.Unlock()
		var answer []byte
		if ok {
			answer = c.server.answer(ctx, query)
		}
		cancel()
		if err := c.ended(); err != nil { // rather than the SERVFAIL that it makes
			return 0, err
		}
		c.mu.Lock()
		if len(answer) > 0 {
			c.out = append(binary.BigEndian.AppendUint16(c.out, uint16(len(answer))), answer...)
		}
	}
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.out)
	c.out = c.out[n:]
	return n, nil
}

// cutQuery takes a whole query from what was written. It is called with mu held.
func (c *conn) cutQuery() (query []byte, ok bool) {
	if len(c.in) < 2 {
		return nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(c.in))
	if len(c.in) < end {
		return nil, false
	}
	query = c.in[2:end]
	c.in = c.in[end:]
	return query, true
}

// ended returns why nothing can be read or written any more.
func (c *conn) ended() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close ends a Read in progress too.
func (c *conn) Close() error {
	c.cancel()
	return nil
}

// SetDeadline sets when reads that begin from now on end.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline does nothing, for writes never wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) LocalAddr() net.Addr  { return &virtAddr{c.server.host.Network(), c.server.host.Name()} }
func (c *conn) RemoteAddr() net.Addr { return &virtAddr{c.server.host.Network(), "dns"} }

// virtAddr is an address without a port.
type virtAddr struct{ network, host string }

func (a *virtAddr) Network() string { return a.network }
func (a *virtAddr) String() string  { return a.host }
