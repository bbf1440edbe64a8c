package virtnet

import (
	"cmp"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection between two hosts. It is a net.Conn, and passes on what else its carrier can do: half
// close, ReadFrom and WriteTo, SyscallConn.
//
// Its methods are safe for concurrent use, and a Read and a Write never wait for each other.
type Conn struct {
	host   *Host
	local  Addr
	remote *Addr // while it is being dialled, the address that was dialled

	// down is set before the carrier is closed, so that whoever that interrupts finds it. It is atomic because
	// every failed Read looks at it.
	down atomic.Bool
	// released is set by who closes the carrier: Close, or the shutdown of the host. Guarded by host.mu.
	released bool
	// carrier is what the engine made. It is written once under host.mu, before anybody has the Conn but the host.
	carrier net.Conn
	// accept is what the engine gets for an incoming connection; here because it lives as long.
	accept Accept
	// number is what the Shaper calls the connection. It is written together with carrier.
	number uint64
	// shaped is what the Shaper has put before the carrier, or nil. It is written once, under host.mu while the connection is
	// not released; atomic because every Write looks at it.
	shaped atomic.Pointer[Shaped]
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
	_ syscall.Conn  = (*Conn)(nil)
)

// attach gives the connection its carrier, or closes that if the host went down meanwhile.
func (c *Conn) attach(carrier net.Conn, dialled bool) error {
	c.host.mu.Lock()
	err := c.host.downErr()
	if err == nil {
		c.carry(carrier, dialled) // a shutdown that starts after this finds it
	}
	c.host.mu.Unlock()
	if err != nil {
		_ = carrier.Close()
	}
	return err
}

// LocalAddr returns the connection's own address, an *[Addr].
func (c *Conn) LocalAddr() net.Addr { return &c.local }

// RemoteAddr returns the address of the other end, an *[Addr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// NetConn returns the carrier: the connection that the network made for this one, e.g. a *net.TCPConn on
// lonet. Reading, writing or closing it makes this connection's behaviour undefined, and goes past an Emulator.
func (c *Conn) NetConn() net.Conn { return c.carrier }

// Read reads from the connection. The error is io.EOF when the other end has closed, or a *net.OpError whose
// Err is ErrSockDown, ErrHostDown, ErrNetDown, os.ErrDeadlineExceeded, or an error of the carrier.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.carrier.Read(b)
	if err != nil {
		err = c.ioError("read", c.cause(bare(err), true))
	}
	return n, err
}

// Write writes to the connection. The error is a *net.OpError whose Err is ErrSockDown, ErrHostDown,
// ErrNetDown, os.ErrDeadlineExceeded, or an error of the carrier.
func (c *Conn) Write(b []byte) (n int, err error) {
	if s := c.shaped.Load(); s != nil {
		n, err = (*s).Write(b)
	} else if n, err = c.carrier.Write(b); err != nil {
		err = c.cause(bare(err), false)
	}
	if err != nil {
		err = c.ioError("write", bare(err))
	}
	return n, err
}

// Close closes the connection, and its port is free again. What is blocked on it ends with ErrSockDown. A
// second Close returns nil.
func (c *Conn) Close() error {
	if c.down.Swap(true) {
		return nil
	}
	h := c.host
	h.mu.Lock()
	h.ports.remove(c, c.local.Port)
	mine := c.release()
	h.mu.Unlock()
	if mine {
		if err := c.closeCarrier(); err != nil {
			return c.opError("close", bare(err))
		}
	}
	return nil
}

func (c *Conn) shutdown() {
	c.host.mu.Lock()
	mine := c.release()
	c.host.mu.Unlock()
	if mine {
		_ = c.closeCarrier()
	}
}

// release tells whether the caller is to close the carrier: the first one is, once there is a carrier. Who dials or
// accepts meanwhile finds the host down. It is called with host.mu held.
func (c *Conn) release() bool {
	if c.released || c.carrier == nil {
		return false
	}
	c.released = true
	return true
}

func (c *Conn) closeCarrier() error {
	if s := c.shaped.Load(); s != nil {
		return (*s).Close()
	}
	return c.carrier.Close()
}

// CloseWrite ends what this end sends: once the other end has read it, its Read returns io.EOF. Reading goes
// on. The error matches errors.ErrUnsupported if the network has no half close.
func (c *Conn) CloseWrite() error {
	if c.shapeable() {
		c.shape() // so that the Shaper knows what this end has ended itself
	}
	if s := c.shaped.Load(); s != nil {
		return c.closeHalf((*s).CloseWrite())
	}
	if hc, ok := c.carrier.(interface{ CloseWrite() error }); ok {
		return c.closeHalf(hc.CloseWrite())
	}
	return c.closeHalf(errors.ErrUnsupported)
}

// CloseRead ends reading on this end. What the other end sends is discarded, or fails there, as the carrier
// has it. The error matches errors.ErrUnsupported if the network has no half close.
func (c *Conn) CloseRead() error {
	if down := c.downErr(); down != nil {
		return c.opError("close", down) // a carrier that is shaped may still be open
	}
	if hc, ok := c.carrier.(interface{ CloseRead() error }); ok {
		return c.closeHalf(hc.CloseRead())
	}
	return c.closeHalf(errors.ErrUnsupported)
}

func (c *Conn) closeHalf(err error) error {
	if err != nil {
		err = c.ioError("close", bare(err))
	}
	return err
}

// SetDeadline sets the deadlines of reads and writes, as net.Conn has it.
func (c *Conn) SetDeadline(t time.Time) error {
	if !c.shapeable() {
		return c.set(c.carrier.SetDeadline(t))
	}
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of reads, as net.Conn has it.
func (c *Conn) SetReadDeadline(t time.Time) error {
	err := c.carrier.SetReadDeadline(t)
	// A carrier that is shaped may be open for what is on the way, when this end is closed: nobody waits in it.
	if err == nil && c.shaped.Load() != nil && c.downErr() != nil {
		err = cmp.Or(c.carrier.SetReadDeadline(past), net.ErrClosed)
	}
	return c.set(err)
}

var past = time.Unix(1, 0)

// SetWriteDeadline sets the deadline of writes, as net.Conn has it.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.shapeable() {
		c.shape() // so that the Shaper knows the deadline when it needs it
	}
	if s := c.shaped.Load(); s != nil {
		return c.set((*s).SetWriteDeadline(t))
	}
	return c.set(c.carrier.SetWriteDeadline(t))
}

func (c *Conn) set(err error) error {
	if err == nil {
		return nil
	}
	if down := c.downErr(); down != nil {
		err = down
	}
	return &net.OpError{Op: "set", Net: c.local.Net, Addr: &c.local, Err: bare(err)}
}

// SyscallConn returns the carrier's raw connection, where it has one: on lonet, for socket options. The error
// matches errors.ErrUnsupported elsewhere, and on a network with an [Emulator].
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.carrier.(syscall.Conn); ok && !c.shapeable() { // nothing may go past the Shaper
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// downErr returns what is down, the widest first, or nil.
func (c *Conn) downErr() error {
	if err := c.host.downErr(); err != nil {
		return err
	}
	if c.down.Load() {
		return ErrSockDown
	}
	return nil
}

// ioError is what an error of the carrier, without its addresses, means. If this end is down, that is the reason for whatever the
// carrier says.
func (c *Conn) ioError(op string, err error) error {
	if down := c.downErr(); down != nil {
		return c.opError(op, down)
	}
	if err == io.EOF {
		return err
	}
	return c.opError(op, err)
}

// bare takes the carrier's addresses off an error.
func bare(err error) error {
	if oe, ok := err.(*net.OpError); ok {
		return oe.Err
	}
	return err
}

func (c *Conn) opError(op string, err error) error {
	e := &net.OpError{Op: op, Net: c.local.Net, Source: &c.local, Err: err}
	if c.remote != nil {
		e.Addr = c.remote
	}
	return e
}
