// Package virtnet is the core of TCP-like virtual networks: addresses, ports, sockets, errors and shutdown.
//
// A network is made of sub-networks, one per process or machine. A [SubNetwork] is home to hosts, and a
// [Host] has sockets at ports. A Host is an [xnet.Networker]: programs Dial, Listen and Accept on it as they
// do with package net, and run unchanged on every network:
//
//   - pipenet: all hosts in one process, in memory;
//   - lonet: hosts in several processes of one machine, over loopback TCP;
//   - networks of others, who write an [Engine] and give it to [NewSubNetwork]; package virtnettest checks it.
//
// # Ports
//
// Ports of a host are 1, 2, 3, … and predictable: whatever does not ask for a port gets the lowest free one.
// A dial takes a port on the host that dials, and an accepted connection takes a port of its own on the host
// that accepts: with a listener on α:1 the first accepted connection is α:2. A port is free again once its
// listener or connection is closed.
//
// # Names
//
// A host is dialled by its name. For code that resolves first each name has an address, [HostIP], which Dial and Listen take in
// its place, and [Host.LookupNetIP] and its sisters look it up. Package vdns has a *net.Resolver.
//
// # Going down
//
// Closing a connection, listener, host or sub-network interrupts at once whatever is blocked on it, with
// [ErrSockDown], [ErrHostDown] or [ErrNetDown] as the cause: the widest thing that is down names the error.
// Every operation that waits takes a context or, on a connection, a deadline.
//
// # Errors
//
// Dial, Listen, Accept, Read and Write return *net.OpError; errors.Is finds the cause, both ours
// ([ErrConnRefused]) and the standard one (syscall.ECONNREFUSED). io.EOF is returned bare.
package virtnet
