package pipenet

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/pipe"
)

// Config has the settings of a network. The zero value is what [New] uses.
type Config struct {
	// Buffer is how many bytes a connection holds in each direction before a Write blocks, as a TCP socket
	// does. 0 means none: a Write returns when it has been read. Negative means [DefaultBuffer].
	Buffer int

	// Backlog is how many dials may wait at one listener for an Accept; the next is refused. 0 means 4096.
	// Negative means none: a dial succeeds only while an Accept waits.
	Backlog int

	// Emulator shapes what passes between the hosts, if it is not nil: see package netem. A connection that it delays
	// is buffered by it, also if Buffer is 0.
	Emulator virtnet.Emulator
}

// DefaultBuffer is the buffer of a network with a negative [Config.Buffer], in bytes: larger ones are no faster.
const DefaultBuffer = pipe.DefaultSize

func (c Config) buffer() int {
	if c.Buffer < 0 {
		return DefaultBuffer
	}
	return c.Buffer
}

// A Network is a virtual network in this process. Two networks know nothing of each other, whatever their
// names.
//
// Its methods are safe for concurrent use.
type Network struct {
	subnet *virtnet.SubNetwork
	mu     sync.Mutex // one Host call makes a host at a time
}

// New makes a network with the full name "pipe"+name. Any name will do.
func New(name string) *Network { return Config{}.New(name) }

// New is the package's function New with these settings.
func (c Config) New(name string) *Network {
	network := "pipe" + name
	r := newRegistry("ram(" + network + ")")
	e := &engine{buffer: c.buffer(), registry: r}
	subnet, notifier := virtnet.Config{Backlog: c.Backlog, Emulator: c.Emulator}.NewSubNetwork(network, e, r)
	e.core = notifier.(virtnet.Connecter)
	return &Network{subnet: subnet}
}

// AsVirtNet returns the network as a sub-network, the only one it has.
func AsVirtNet(n *Network) *virtnet.SubNetwork { return n.subnet }

// Network returns the full name of the network.
func (n *Network) Network() string { return n.subnet.Network() }

// Close closes the network with all its hosts and their sockets. A second Close returns nil, once the first is
// done.
func (n *Network) Close() error { return n.subnet.Close() }

// Host returns the host with that name. It makes it when it isn't there, or was closed. If that can't be, for
// the name breaks the rules of [virtnet.SubNetwork.NewHost] or the network is closed, it returns a host that is down,
// every operation of which gives the reason.
func (n *Network) Host(name string) *virtnet.Host {
	if h := n.subnet.Host(name); h != nil {
		return h
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if h := n.subnet.Host(name); h != nil {
			return h
		}
		h, err := n.subnet.NewHost(context.Background(), name)
		switch {
		case err == nil:
			return h
		case errors.Is(err, virtnet.ErrHostDup):
			continue // a NewHost of the sub-network was faster
		case errors.Is(err, virtnet.ErrNetDown):
			err = virtnet.ErrNetDown
		}
		return n.subnet.DownHost(name, err)
	}
}

// engine connects hosts with pipes.
type engine struct {
	buffer   int
	registry *registry
	core     virtnet.Connecter // constant once New has returned
}

var (
	_ virtnet.Engine     = (*engine)(nil)
	_ virtnet.HostCloser = (*engine)(nil)
)

func (*engine) VNetNewHost(ctx context.Context, hostname string, registry virtnet.Registry) error {
	return registry.Announce(ctx, hostname, "")
}

// VNetCloseHost frees the name. The core could have the registry withdraw it, but only behind Close's back:
// here a dial right after Close says the same every time.
func (e *engine) VNetCloseHost(hostname string) { e.registry.remove(hostname) }

func (e *engine) VNetDial(ctx context.Context, src, dst *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
	c, s := pipe.New(e.buffer)
	// If it fails nobody has seen the pipe, so there is nothing to close.
	accepted, err := e.core.VNetConnect(ctx, src, dst, s)
	return c, accepted, err
}

// Close has nothing to do: the pipes belong to the connections, which the core closes.
func (*engine) Close() error { return nil }
