package vdns

import (
	"context"
	"net"

	"github.com/virtnet/virtnet"
)

// Resolver returns a resolver of the names of h's network, as h sees it. The package comment says what differs from
// h's own LookupHost, LookupNetIP and LookupAddr.
//
// It starts nothing, and no goroutine outlives a lookup, unless the lookup's context ends first: then one ends as soon as
// the registry obeys. Lookups fail once h is down. As any other, a resolver is safe for concurrent use; two bubbles
// cannot share one.
func Resolver(h *virtnet.Host) *net.Resolver {
	return &net.Resolver{
		PreferGo:     true, // else some systems ask the operating system
		StrictErrors: true, // a registry that is down is no reason to go on with other names
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return newConn(ctx, &server{h}), nil
		},
	}
}
