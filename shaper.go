package virtnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// An Emulator comes between the core and the engine of every sub-network that is made with it ([Config]), and
// shapes what passes between two virtual hosts: package netem has one. A network made without pays nothing for it.
type Emulator interface {
	// Attach is called once for each new sub-network, before anybody has that. Everything of the sub-network goes through
	// the Shaper. shape has the Shaper put something before those open connections that the host from, if it is on
	// the sub-network, has to hosts for which to is true; it must not be called with a lock held that the Shaper's methods
	// take. It looks at all connections of the host, so it is called once for many links.
	Attach(n *SubNetwork, shape func(from string, to func(host string) bool)) Shaper
}

// A Shaper is what an [Emulator] has for one sub-network. Its methods are called from many goroutines at once.
type Shaper interface {
	// DialOut is called before the engine dials, once the name that is dialled is known. It may wait until ctx ends.
	// An error is bare, and is the dial's. The number is for DialBack.
	DialOut(ctx context.Context, src, dst *Addr) (number uint64, _ error)

	// DialBack is called when the engine has dialled, with DialOut's number and what the engine said. It may wait until ctx ends. An
	// error is bare, and the dial's; a connection that the engine made is then closed.
	DialBack(ctx context.Context, src, dst *Addr, number uint64, dialErr error) error

	// NoHost is called when no host of the name that is dialled is known, with the registry's error. It may wait until ctx ends.
	// It returns the dial's error, or nil to have the registry asked again.
	NoHost(ctx context.Context, src, dst *Addr, err error) error

	// Conn is told of a new connection, on the sub-network's end of it; dialled tells which end. It returns a number,
	// which the core keeps with the connection, and what that is to go through, or nil if its Writes go straight to the
	// carrier until Shape is called. The addresses of c stay as they are while it is open. It is called with locks of the core
	// held, and must not wait, nor call the core except for c's addresses and carrier ([Conn.NetConn]).
	Conn(c *Conn, dialled bool) (number uint64, _ Shaped)

	// Shape returns what c is to go through from now on. It is called at most once for a connection for which Conn has
	// returned nil, and as that is; there may be Writes in the carrier already.
	Shape(c *Conn, number uint64) Shaped

	// Down is called once, when the sub-network has gone down and its connections were closed. What the Shaper
	// still holds of them is dropped, and their carriers are closed. It must not wait.
	Down()
}

// Shaped is what a [Shaper] has put before the carrier of a connection. Reads go to the carrier; it owns that otherwise,
// and closes it. Errors are bare.
type Shaped interface {
	Write(p []byte) (int, error)
	CloseWrite() error
	SetWriteDeadline(t time.Time) error

	// Close is called once. From then on nobody on this end may wait in the carrier.
	Close() error

	// Cause tells what an error means that this end's Read, or Write, got from the carrier.
	Cause(err error, reading bool) error
}

// carry gives c its carrier, and tells the Shaper of it. It is called with host.mu held.
func (c *Conn) carry(carrier net.Conn, dialled bool) {
	c.carrier = carrier
	if s := c.host.subnet.shaper; s != nil {
		number, shaped := s.Conn(c, dialled)
		c.number = number
		if shaped != nil {
			c.putBefore(shaped)
		}
	}
}

// shapeable tells whether there is a Shaper.
func (c *Conn) shapeable() bool { return c.host.subnet.shaper != nil }

// shape has the Shaper put something before the carrier, unless it has done so, or the connection is closed.
func (c *Conn) shape() {
	if c.shaped.Load() == nil {
		c.host.mu.Lock()
		c.shapeLocked()
		c.host.mu.Unlock()
	}
}

// shapeLocked is shape, called with host.mu held.
func (c *Conn) shapeLocked() {
	if c.carrier != nil && !c.released && c.shaped.Load() == nil {
		c.putBefore(c.host.subnet.shaper.Shape(c, c.number))
	}
}

func (c *Conn) putBefore(s Shaped) { c.shaped.Store(&s) }

// shapeBetween shapes the connections that a host of this sub-network has to some others.
func (n *SubNetwork) shapeBetween(from string, to func(host string) bool) {
	n.mu.Lock()
	h := n.hosts[from]
	n.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.ports.all() {
		if c, ok := s.(*Conn); ok && c.carrier != nil && to(c.remote.Host) {
			c.shapeLocked()
		}
	}
}

// cause is what the Shaper says of an error of the carrier. It is told of every failure, because what has failed has
// nothing to wait for when it is closed.
func (c *Conn) cause(err error, reading bool) error {
	if c.shapeable() && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.shape()
	}
	if s := c.shaped.Load(); s != nil {
		return (*s).Cause(err, reading)
	}
	return err
}

// dialShaped is the engine's VNetDial for c, with the shaper's part in it.
func (h *Host) dialShaped(call *dialCall, c *Conn, hostdata string) (net.Conn, *Addr, error) {
	src, s := &c.local, h.subnet.shaper
	if s == nil {
		return h.subnet.engine.VNetDial(call, src, &call.dst, hostdata)
	}
	number, err := s.DialOut(call, src, &call.dst)
	if err != nil {
		return nil, nil, err
	}
	carrier, accepted, err := h.subnet.engine.VNetDial(call, src, &call.dst, hostdata)
	if serr := s.DialBack(call, src, &call.dst, number, err); serr != nil && err == nil {
		c.giveUp(carrier, accepted)
		return nil, nil, serr
	}
	return carrier, accepted, err
}

// giveUp closes a connection whose dial was given up while the answer was on the way: the end that has accepted hears of it as of
// any other close, by way of the Shaper.
func (c *Conn) giveUp(carrier net.Conn, accepted *Addr) {
	dialled := c.remote
	if accepted != nil {
		c.remote = accepted
	}
	attached := c.attach(carrier, true) == nil
	c.host.mu.Lock()
	first := attached && c.release()
	c.host.mu.Unlock()
	if first {
		_ = c.closeCarrier()
	}
	c.host.mu.Lock() // who looks for connections finds it until its port is free
	c.remote = dialled
	c.host.mu.Unlock()
}
