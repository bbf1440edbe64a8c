package virtnet

import (
	"context"
	"net"
)

// An Emulator comes between the core and the engine of every sub-network that is made with it ([Config]), and
// shapes what passes between two virtual hosts: package netem has one. A network made without pays nothing for it.
type Emulator interface {
	// Attach is called once for each new sub-network. Everything of that goes through the Shaper.
	Attach(network string) Shaper
}

// A Shaper is what an [Emulator] has for one sub-network. Its methods are called from many goroutines at once.
type Shaper interface {
	// DialOut is called before the engine dials, once the name that is dialled is known. It may wait until ctx ends.
	// An error is bare, and is the dial's.
	DialOut(ctx context.Context, src, dst *Addr) error

	// DialBack is called when the engine has dialled, with what it said. It may wait until ctx ends. An
	// error is bare, and the dial's; a connection that the engine made is then closed.
	DialBack(ctx context.Context, src, dst *Addr, dialErr error) error

	// Conn returns what the core uses in place of carrier, a new connection of the engine's, on the sub-network's
	// end of it. The addresses stay as they are while the connection is open. dialled tells which end it is. It is
	// called with locks of the core held, and must not wait, nor call the core.
	Conn(carrier net.Conn, local, remote *Addr, dialled bool) net.Conn

	// Down is called once, when the sub-network has gone down and its connections were closed. What the Shaper
	// still holds of them is dropped, and their carriers are closed. It must not wait.
	Down()
}

// shape returns what c is to use in place of carrier. The addresses of c are those that it keeps.
func (c *Conn) shape(carrier net.Conn, dialled bool) net.Conn {
	if s := c.host.subnet.shaper; s != nil {
		return s.Conn(carrier, &c.local, c.remote, dialled)
	}
	return carrier
}

// dialShaped is the engine's VNetDial, with the shaper's part in it.
func (h *Host) dialShaped(call *dialCall, src *Addr, hostdata string) (net.Conn, *Addr, error) {
	s := h.subnet.shaper
	if s == nil {
		return h.subnet.engine.VNetDial(call, src, &call.dst, hostdata)
	}
	if err := s.DialOut(call, src, &call.dst); err != nil {
		return nil, nil, err
	}
	carrier, accepted, err := h.subnet.engine.VNetDial(call, src, &call.dst, hostdata)
	if serr := s.DialBack(call, src, &call.dst, err); serr != nil && err == nil {
		_ = carrier.Close()
		return nil, nil, serr
	}
	return carrier, accepted, err
}
