// Package xnet says what an access-point to a network is, so that a program can be written once against
// Dial, Listen and Accept and given the network it runs on.
//
// A [Networker] dials and listens under one name; a [Listener] is a net.Listener whose Accept takes a context.
// Every host of a virtual network is a Networker. This package has two more: [NetPlain], the operating
// system's own network, and [NetTLS], TLS over any other.
//
// # Other people's code
//
// What takes a net.Listener (net/http, grpc) is given a Listener by [BindCtxL]; [WithCtxL] goes the other
// way. What takes a dial function is given one of these:
//
//	xnet.DialContext(n)             // func(ctx, network, addr): http.Transport, database drivers, proxies, ...
//	grpc.WithContextDialer(n.Dial)  // func(ctx, addr): fits as it is; the target is "passthrough:///" + addr
//
// Package xhttp has more for net/http, which this package does not import.
//
// # Going down
//
// Closing a Networker or a Listener fails what is blocked on it and all later operations, with net.ErrClosed
// as the cause. A second Close returns nil. A cancelled operation fails with the context's error and disturbs
// no other: the connection that a cancelled Accept would have got comes out of the next one.
//
// What a Listener of this package keeps is at most one goroutine, and only while somebody waits in Accept, or
// once a waiting Accept has been cancelled and until the next connection; Close ends it. Connections are
// package net's and crypto/tls's own types and cost no goroutine.
package xnet
