package lonet

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// lineBuffer is what one side of a handshake builds its line in, and reads the other's into.
type lineBuffer [maxLine]byte

var lineBuffers = sync.Pool{New: func() any { return new(lineBuffer) }} // bytes only: nothing of a synctest bubble

// readLine reads from conn up to the first newline, with as few reads as it comes in. It returns the line
// without the newline, and what came behind it; both are parts of buf. The error is io.ErrUnexpectedEOF if
// conn ends within the line, and errLongLine if no newline comes in time.
func readLine(conn net.Conn, buf *lineBuffer) (line, surplus []byte, _ error) {
	for n := 0; n < len(buf); {
		m, err := conn.Read(buf[n:])
		if i := bytes.IndexByte(buf[n:n+m], '\n'); i >= 0 {
			return buf[:n+i], buf[n+i+1 : n+m], nil
		}
		n += m
		if err == io.EOF {
			return nil, nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, errLongLine
}

// withSurplus returns conn with the surplus of its handshake put back in front.
func withSurplus(conn *net.TCPConn, surplus []byte) net.Conn {
	if len(surplus) == 0 {
		return conn
	}
	return &surplusConn{TCPConn: conn, surplus: bytes.Clone(surplus)}
}

// surplusConn is a connection some of whose bytes were read with the handshake.
type surplusConn struct {
	*net.TCPConn
	mu      sync.Mutex
	surplus []byte
}

func (c *surplusConn) Read(b []byte) (int, error) {
	if n := c.readSurplus(b); n > 0 {
		return n, nil
	}
	return c.TCPConn.Read(b)
}

func (c *surplusConn) readSurplus(b []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(b, c.surplus)
	c.surplus = c.surplus[n:]
	return n
}

func (c *surplusConn) WriteTo(w io.Writer) (int64, error) {
	c.mu.Lock()
	surplus := c.surplus
	c.surplus = nil
	c.mu.Unlock()
	n, err := w.Write(surplus)
	if err != nil {
		return int64(n), err
	}
	m, err := c.TCPConn.WriteTo(w)
	return int64(n) + m, err
}
