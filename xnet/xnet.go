package xnet

import (
	"context"
	"net"
)

// Networker is an access-point to a network: it dials and listens under one name.
//
// Its methods are safe for concurrent use. Errors are *net.OpError, as in package net.
type Networker interface {
	// Network returns the name of the network, e.g. "tcp4", "pipeα", "lonetβ".
	Network() string

	// Name returns the name of this access-point on the network, e.g. the name of the operating system's
	// host, or "α".
	Name() string

	// Dial connects to addr. ctx bounds the connecting only, not the connection.
	Dial(ctx context.Context, addr string) (net.Conn, error)

	// Listen starts to listen at laddr. ctx bounds this call only, not the listener.
	Listen(ctx context.Context, laddr string) (Listener, error)

	// Close fails operations in progress and later ones; errors.Is finds net.ErrClosed in what they return.
	// Listeners are closed. A second Close returns nil.
	Close() error
}

// Listener is a net.Listener whose Accept can be cancelled.
//
// Its methods are safe for concurrent use.
type Listener interface {
	// Accept waits for a connection and returns it. It ends with ctx's error as the cause when ctx is done, and
	// then takes no connection away from other Accepts, those at the same time or later.
	Accept(ctx context.Context) (net.Conn, error)

	// Close stops listening and makes pending and later Accepts fail, with net.ErrClosed as the cause.
	// Connections already accepted stay open, unless the network says otherwise. A second Close returns nil.
	Close() error

	// Addr returns the address listened on.
	Addr() net.Addr
}
