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

// readLine reads from conn into buf, n bytes of which are filled, until there is a newline, with as few reads as
// it comes in. It returns how many bytes are filled then, or when it fails. The error is io.ErrUnexpectedEOF if conn
// ends within the line, and errLongLine if no newline comes in time.
//
// The line is known to be at least that long: what is read beyond that, up to what a port can have of further
// digits, is read byte by byte, so that nothing behind the line is. With maxLine there is no such care.
func readLine(conn io.Reader, buf *lineBuffer, n, least int) (int, error) {
	for n < len(buf) {
		limit := len(buf)
		if n < least {
			limit = least
		} else if n < least+maxPortDigits-1 {
			limit = n + 1
		}
		m, err := conn.Read(buf[n:limit])
		n += m
		switch {
		case bytes.IndexByte(buf[n-m:n], '\n') >= 0:
			return n, nil
		case err == io.EOF:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, err
		}
	}
	return n, errLongLine
}

const maxPortDigits = len("2147483647")

// splitLine returns the line without its newline, and what came behind it.
func splitLine(b []byte) (line, surplus []byte) {
	line, surplus, _ = bytes.Cut(b, []byte{'\n'})
	return line, surplus
}

// withSurplus returns conn with the surplus of its handshake put back in front.
func withSurplus(conn *net.TCPConn, surplus []byte) net.Conn {
	if len(surplus) == 0 {
		return conn
	}
	return &surplusConn{TCPConn: conn, surplus: bytes.Clone(surplus)}
}

// surplusConn is a connection some of whose bytes were read with the handshake. It is what an acceptor has if the
// dialler sent payload before it had the reply, which ours doesn't, and a dialler if the acceptor quotes names in
// another way than ours.
type surplusConn struct {
	*net.TCPConn
	mu      sync.Mutex
	surplus []byte
}

func (c *surplusConn) Read(b []byte) (int, error) {
	n, err := c.takeSurplus(func(surplus []byte) int { return copy(b, surplus) })
	if n > 0 || err != nil {
		return n, err
	}
	return c.TCPConn.Read(b)
}

func (c *surplusConn) WriteTo(w io.Writer) (int64, error) {
	var surplus []byte
	_, err := c.takeSurplus(func(s []byte) int { surplus = s; return len(s) })
	if err != nil {
		return 0, err
	}
	n, err := w.Write(surplus)
	if err != nil {
		return int64(n), err
	}
	m, err := c.TCPConn.WriteTo(w)
	return int64(n) + m, err
}

func (c *surplusConn) CloseRead() error {
	c.mu.Lock()
	c.surplus = nil
	c.mu.Unlock()
	return c.TCPConn.CloseRead()
}

// takeSurplus takes as many bytes off the surplus as take says, if there are any. It does so as a read of the
// socket, which fails if that is closed or past its deadline.
func (c *surplusConn) takeSurplus(take func(surplus []byte) int) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.surplus) == 0 {
		return 0, nil
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) bool { n = take(c.surplus); return true })
	}
	c.surplus = c.surplus[n:]
	return n, err
}
