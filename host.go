package virtnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/virtnet/virtnet/xnet"
)

// A Host is a host of a virtual network: it dials and listens under its name, at ports of its own.
//
// Its methods are safe for concurrent use.
type Host struct {
	subnet *SubNetwork
	name   string
	reason error // why a host that never was up is down; see DownHost

	life context.Context // ends when the host goes down
	kill context.CancelFunc
	// down is set before life ends and before any socket is shut down, so that whoever is interrupted finds it.
	// It is atomic because every failed Read looks at it.
	down    atomic.Bool
	closing sync.Once

	// Guarded by subnet.mu.
	made     bool   // NewHost has succeeded
	hostdata string // what was announced; constant once made

	// mu guards the ports, and the queues of the listeners. It is never held while waiting, or while
	// calling the engine, a connection of its, or a context.
	mu    sync.Mutex
	ports ports
}

var _ xnet.Networker = (*Host)(nil)

// DownHost returns a host that is down, so that every Dial and Listen fails with reason. It is for networks
// whose way to make a host has no room for an error.
func (n *SubNetwork) DownHost(name string, reason error) *Host {
	h := &Host{subnet: n, name: name, reason: reason}
	h.life, h.kill = context.WithCancel(n.life)
	h.kill()
	h.down.Store(true)
	return h
}

// Network returns the full name of the network.
func (h *Host) Network() string { return h.subnet.network }

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Close takes the host down: its connections and listeners are closed, and what is blocked on them or on
// the host ends with ErrHostDown. Its name is free again. A second Close returns nil, once the first is done.
func (h *Host) Close() (err error) {
	h.closing.Do(func() {
		if h.shutdown() {
			err = h.subnet.hostClosed(h)
		}
	})
	return err
}

// shutdown interrupts everything on the host. It tells whether the host was up.
func (h *Host) shutdown() bool {
	if h.down.Swap(true) {
		return false
	}
	h.kill()
	h.mu.Lock()
	socks := h.ports.all()
	h.mu.Unlock()
	for _, s := range socks {
		s.shutdown()
	}
	return true
}

// downErr returns what is down, the widest first, or nil.
func (h *Host) downErr() error {
	switch {
	case h.reason != nil:
		return h.reason
	case h.subnet.down.Load():
		return ErrNetDown
	case h.down.Load():
		return ErrHostDown
	}
	return nil
}

// bind puts s at port, or at the lowest free port if port is 0. It returns the port, also if the host is
// down: an error that shows it is easier to read.
func (h *Host) bind(s socket, port int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bound := h.ports.put(s, port)
	if bound == 0 {
		bound = port
		s = nil
	}
	// A shutdown that starts after this finds the socket.
	if err := h.downErr(); err != nil {
		if s != nil {
			h.ports.remove(s, bound)
		}
		return bound, err
	}
	if s == nil {
		return bound, ErrAddrAlreadyUsed
	}
	return bound, nil
}

func (h *Host) unbind(s socket, port int) {
	h.mu.Lock()
	h.ports.remove(s, port)
	h.mu.Unlock()
}

// Dial connects to addr, "host:port"; an empty host is this one, and a name's address ([HostIP]) is as good as the
// name. It returns once an Accept has taken the connection, or ctx ends, or something goes down. ctx has no say over
// the connection after that. The RemoteAddr of the connection is the port that accepted, not the one that was
// dialled: see the package comment.
//
// The error is a *net.OpError whose Err is ErrNoHost (in a *RegistryError or *net.AddrError), ErrConnRefused,
// ErrHostDown, ErrNetDown, a *net.AddrError for an address that does not parse, the error of ctx, or an error of
// the network's engine.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c := &Conn{host: h, local: Addr{Net: h.subnet.network, Host: h.name}}
	port, err := h.bind(c, 0)
	c.local.Port = port
	call := &dialCall{callCtx: callCtx{Context: ctx, life: h.life}}
	dst, perr := parseAddr(h.subnet.network, addr)
	if perr == nil {
		if dst.Host == "" {
			dst.Host = h.name
		}
		call.dst = dst
		c.remote = &call.dst
		if err == nil {
			err = h.dial(call, c)
		}
	} else if err == nil {
		err = perr
	}
	if err != nil {
		h.unbind(c, port)
		return nil, c.opError("dial", err)
	}
	return c, nil
}

// dialCall is what a call to the engine for a dial is made with, in one piece.
type dialCall struct {
	callCtx
	dst Addr
}

// dial connects c to the address that is dialled.
func (h *Host) dial(call *dialCall, c *Conn) error {
	ctx := call.Context // the caller's
	if err := ctx.Err(); err != nil {
		return err
	}
	defer call.end()
	if isIP(call.dst.Host) {
		if err := h.subnet.nameIP(&call.dst); err != nil {
			return err
		}
	}
	hostdata, err := h.queryDialled(call, &c.local)
	if err == nil {
		h.subnet.longNames.use(call.dst.Host)
		var carrier net.Conn
		var accepted *Addr
		if carrier, accepted, err = h.dialShaped(call, c, hostdata); err == nil {
			if accepted == nil { // the engine does not know: what was dialled
				accepted = new(call.dst) // on its own, for it outlives the call
			}
			c.remote = accepted
			return c.attach(carrier, true)
		}
	}
	if down := h.downErr(); down != nil {
		return down
	}
	return callError(ctx, err)
}

// queryDialled asks the registry for the host that is dialled.
func (h *Host) queryDialled(call *dialCall, src *Addr) (hostdata string, err error) {
	for {
		hostdata, err = h.subnet.registry.Query(call, call.dst.Host)
		if h.subnet.shaper == nil || !errors.Is(err, ErrNoHost) {
			return hostdata, err
		}
		if err = h.subnet.shaper.NoHost(call, src, &call.dst, err); err != nil {
			return "", err
		}
	}
}

// DialContext is Dial with the signature of [net.Dialer.DialContext], for net/http.Transport and the like: it is
// [xnet.DialContext] of the host, and so takes http://α:80/ although net/http dials "xn--mxa:80" for it. The network is
// "tcp", "tcp4" or "tcp6", empty, or the name of this network.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return xnet.DialContext(h)(ctx, network, addr)
}

// Listen starts to listen at laddr, "host:port". The host is this one, its address ([HostIP]), or empty; 0.0.0.0
// and [::] mean the same. Port 0, or an empty laddr, takes the lowest free port. It does not wait, and ctx has no say over the
// listener.
//
// The error is a *net.OpError whose Err is ErrAddrAlreadyUsed, ErrAddrNoListen for another host's name,
// ErrHostDown, ErrNetDown, a *net.AddrError for an address that does not parse, or the error of ctx.
func (h *Host) Listen(ctx context.Context, laddr string) (xnet.Listener, error) {
	if laddr == "" {
		laddr = ":0"
	}
	a, err := parseAddr(h.subnet.network, laddr)
	if err != nil {
		if down := h.downErr(); down != nil {
			err = down
		}
		return nil, &net.OpError{Op: "listen", Net: h.subnet.network, Err: err}
	}
	if a.Host == "" || a.Host == "0.0.0.0" || a.Host == "::" {
		a.Host = h.name
	} else if isIP(a.Host) {
		_ = h.subnet.nameIP(&a) // nobody's address is not this host's either
	}
	l := &listener{host: h, addr: a}
	switch {
	case a.Host != h.name:
		err = ErrAddrNoListen
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if down := h.downErr(); down != nil && err != nil {
		err = down
	}
	if err == nil {
		l.addr.Port, err = h.bind(l, a.Port)
	}
	if err != nil {
		return nil, l.opError("listen", err)
	}
	return l, nil
}
