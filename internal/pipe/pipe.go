package pipe

import (
	"net"
	"time"
)

// DefaultSize is a good size of a buffered pipe: one of 256 KiB is no faster.
const DefaultSize = 64 << 10

// Conn is one end of a pipe. All its methods are safe for concurrent use; each Write is atomic with respect to
// others.
//
// If several errors apply, the first of these is returned: net.ErrClosed, os.ErrDeadlineExceeded, a reset by the
// peer, a half close.
type Conn struct {
	in, out *half
}

var _ net.Conn = (*Conn)(nil)

// New returns the two ends of a pipe. With size 0 or less it is synchronous: a Write returns when all its bytes
// have been read. Otherwise a Write returns when its bytes have been read or are in a buffer that holds up to
// size bytes for each direction.
func New(size int) (*Conn, *Conn) {
	var p struct {
		a, b   Conn
		ab, ba half
	}
	p.ab.size, p.ba.size = max(size, 0), max(size, 0)
	p.a = Conn{in: &p.ba, out: &p.ab}
	p.b = Conn{in: &p.ab, out: &p.ba}
	return &p.a, &p.b
}

// Read reads what is there, at least one byte unless p is empty, and waits until there is something.
//
// It fails with io.EOF when the peer has closed its writing end and everything has been read, and after
// [Conn.CloseRead]; with net.ErrClosed after Close; with os.ErrDeadlineExceeded after the deadline, even if there
// is something to read; and with an error that matches syscall.ECONNRESET after the peer's Reset. Close, CloseRead, Reset
// and the deadline also interrupt a Read that waits.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write writes p. It returns early only with an error, and then tells how many bytes the peer has read or the buffer
// has taken. An empty Write does not wait.
//
// It fails with net.ErrClosed after Close; with os.ErrDeadlineExceeded after the deadline; with an error that matches
// syscall.EPIPE and io.ErrClosedPipe after CloseWrite, and when the peer has closed its connection or its reading end; and with
// one that matches syscall.ECONNRESET after the peer's Reset. All of these also interrupt a Write that waits.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close closes this end. The peer reads what is in the buffer and then io.EOF, and cannot write any more. A
// second Close returns net.ErrClosed.
func (c *Conn) Close() error { return c.close(open, shut) }

// Reset closes this end as a crash would. What is in the buffers is lost, and the peer's Reads and Writes fail
// with an error that matches syscall.ECONNRESET. After Close it does nothing and returns net.ErrClosed.
func (c *Conn) Reset() error { return c.close(reset, reset) }

// close closes both directions, in each of which the peer's end goes to the given state. One close only gets past the
// first of them, so that the peer never sees one direction closed and the other reset.
func (c *Conn) close(peerRead, peerWrite state) error {
	if err := c.out.endWrite(closed, peerRead); err != nil {
		return err
	}
	return c.in.endRead(closed, peerWrite)
}

// CloseWrite closes the writing end. The peer reads what is in the buffer and then io.EOF; this end still reads.
// After Close it returns net.ErrClosed.
func (c *Conn) CloseWrite() error { return c.out.endWrite(shut, open) }

// CloseRead closes the reading end. What is in the buffer is lost, and the peer cannot write any more; this end
// still writes. After Close it returns net.ErrClosed.
func (c *Conn) CloseRead() error { return c.in.endRead(shut, shut) }

// SetDeadline sets the deadlines of Read and Write, for calls that wait now and for later ones. The zero time means
// none. After Close it returns net.ErrClosed.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of Read, as [Conn.SetDeadline] does.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(&c.in.r, t) }

// SetWriteDeadline sets the deadline of Write, as [Conn.SetDeadline] does.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.w, t) }

// LocalAddr returns an address "pipe" on network "pipe".
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr returns an address "pipe" on network "pipe".
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }
