// Package lonet is a virtual network of several processes on one machine. Each process joins the network by
// its name and has a sub-network with hosts of its own; any host can dial any other. Connections are loopback TCP
// connections: after a handshake of one line each way they are the users', byte for byte, at the speed of TCP.
//
//	net, err := lonet.Join(ctx, "t")
//	α, err := net.NewHost(ctx, "α")
//	l, err := α.Listen(ctx, ":80")
//
// and in another process
//
//	net, err := lonet.Join(ctx, "t")
//	β, err := net.NewHost(ctx, "β")
//	c, err := β.Dial(ctx, "α:80")
//
// The hosts of a network are in an SQLite database, <temp dir>/lonet/<network>/registry.db. A host's name belongs to
// its process as long as that lives: it is free at once when the host or sub-network is closed, or when the
// process dies, however it dies. docs/lonet.md has the formats and the protocol.
//
// A sub-network is one listening socket on 127.0.0.1, at most one goroutine, and five descriptors; once a second it looks
// whether its files are in place, which takes microseconds. A connection is one descriptor and no goroutine. There is no authentication between the processes of one machine: whoever can
// connect to 127.0.0.1 can dial the hosts. Only the user who made a network can join it.
package lonet
