package virtnet

import (
	"context"
	"net"
)

// An Engine is the part of a network that knows how to reach a host and how to accept. Everything else is
// the core's: addresses, ports, sockets, errors, shutdown.
//
// Its methods are called from many goroutines at once. The core cancels the contexts of running calls before
// it calls Close. An engine may also implement [HostCloser].
//
// An engine in whose process one end of a connection is asks the core to accept ([Notifier]), and must then soon
// say on [Accept.Ack] what became of it: an Accept waits for that, whatever its context.
type Engine interface {
	// VNetNewHost makes what a new host needs, and announces it to registry. The hostdata it announces tells
	// VNetDial, possibly of another sub-network, where to connect.
	VNetNewHost(ctx context.Context, hostname string, registry Registry) error

	// VNetDial connects src, an address on this sub-network, to dst. dsthostdata is what the registry has for
	// dst's host. src and dst carry this sub-network's own network name and must not be changed.
	//
	// It returns once the other side's core has accepted, with the connection, which the core wraps so that its
	// LocalAddr is src and its RemoteAddr is addrAccept, the address that accepted, or dst where that is nil. An
	// error is bare: the core wraps it in a *net.OpError.
	VNetDial(ctx context.Context, src, dst *Addr, dsthostdata string) (_ net.Conn, addrAccept *Addr, _ error)

	// Close stops the engine: its connections end, and VNetNewHost and VNetDial fail from now on.
	Close() error
}

// HostCloser is implemented by an [Engine] that keeps something per host. VNetCloseHost is called once the
// host is down and before its name is free; it must not wait. It is not called when the sub-network closes, nor
// for a host that VNetNewHost failed to make.
type HostCloser interface {
	VNetCloseHost(hostname string)
}

// A Leader is an [Engine] that can take incoming connections on the goroutines that wait in Accept. Who dials is
// then answered by the goroutine that gets the connection, which saves the switch from one to another.
type Leader interface {
	// VNetLead lends the engine a goroutine. On it the engine may take and serve incoming connections for as long
	// as wanted is true. It returns soon after that is false, or when it has no use for the goroutine.
	VNetLead(wanted func() bool)

	// VNetRecall says that wanted may have become false. It must not wait.
	VNetRecall()
}

// A Notifier is how an engine tells the core what comes from the network. Its methods are safe to call from
// many goroutines.
type Notifier interface {
	// VNetAccept asks the core to decide about an incoming connection from src to dst.
	//
	// On success an Accept call on the listener has taken it and waits for [Accept.Ack]. An error is bare
	// (ErrConnRefused, an error that is ErrNoHost to errors.Is and a *net.AddrError to errors.As, the context's
	// error, ErrNetDown): the engine, which still owns netconn, tells the dialler and closes it. With a context
	// that is already done it succeeds only if that needs no waiting.
	VNetAccept(ctx context.Context, src, dst *Addr, netconn net.Conn) (*Accept, error)

	// VNetDown says that the network under the sub-network is gone, and why. All that is blocked on the
	// sub-network ends with ErrNetDown; its Close, which still has to be called, returns err. Only the first
	// VNetDown counts, and none after Close.
	VNetDown(err error)
}

// A Connecter is what the Notifier of [NewSubNetwork] also is, for an engine in whose process both ends of a
// connection are, so that there is nobody to tell and nothing that can fail once a dial is accepted. VNetConnect is
// VNetAccept without the Ack: when it succeeds the connection is accepted, at addrAccept, and the core owns
// netconn.
type Connecter interface {
	VNetConnect(ctx context.Context, src, dst *Addr, netconn net.Conn) (addrAccept *Addr, _ error)
}

// Accept is a connection that the core is ready to take.
type Accept struct {
	// Addr is the address that accepts: the host that was dialled, with a port of the new connection's own.
	Addr *Addr
	// Ack takes exactly one value and never blocks: nil once the dialler has been told, from when the core owns
	// the connection, or the error for which the acceptance is cancelled. It takes it also if the listener or
	// host went down meanwhile; after nil the core then closes the connection.
	//
	// The value must come soon, whatever becomes of the dialler: the Accept that has taken the dial waits for it,
	// though its context end. And it must be one, as Ack serves later dials too: a second would answer another.
	Ack chan error
}

// A Registry knows the hosts of a network. Its methods are called from many goroutines at once; the core
// cancels the contexts of running calls before it calls Close. A registry may also implement [Withdrawer].
type Registry interface {
	// Announce says that this sub-network has the host. The name is unique in the whole network.
	// The error is a *RegistryError with cause ErrRegistryDown, ErrHostDup, or another.
	Announce(ctx context.Context, hostname, hostdata string) error

	// Query returns what was announced for the host.
	// The error is a *RegistryError with cause ErrRegistryDown, ErrNoHost, or another.
	Query(ctx context.Context, hostname string) (hostdata string, _ error)

	// Close withdraws what was announced through this registry and releases it. Operations in progress and
	// later ones fail with ErrRegistryDown.
	Close() error
}

// Withdrawer is implemented by a [Registry] that can take back an announcement, so that the name of a closed
// host can be used again. Withdraw removes only what this registry announced with the same hostdata. The
// core does not wait for it when it closes a host, nor when it closes the sub-network, which ends ctx: Withdraw must
// return soon after that.
type Withdrawer interface {
	Withdraw(ctx context.Context, hostname, hostdata string) error
}
