package vdns

import (
	"context"
	"errors"
	"net"
)

// What package net makes at the first lookup and keeps, as of Go 1.26, is two semaphores that are channels, one for
// resolv.conf and one for nsswitch.conf. A channel belongs to the bubble that it is made in, and only there may it be
// used. Whether a goroutine is in a bubble cannot be found out, and what it starts is in the same; but no
// init is ever in one.
//
// A lookup of a host by Go's own resolver makes both, on every system: Windows has no nsswitch.conf and skips that one,
// now and later. The rest of package net's state is harmless: mutexes, Onces, and a WaitGroup that is a package's variable,
// none of which has a bubble. Times that were read in a bubble are long past outside of it, and the other way
// round far ahead, so the files are read again too soon or not. The system's own resolver, which macOS and Windows
// prefer without PreferGo, has one channel more; a Resolver of ours never gets there.
func init() {
	r := net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("nothing is asked")
		},
	}
	// A name that no search domain is tried with, and that cannot exist (RFC 6761).
	_, _ = r.LookupHost(context.Background(), "virtnet.invalid.")
}
