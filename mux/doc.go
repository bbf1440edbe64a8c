// Package mux carries many streams over one connection: a TCP or TLS connection, a pair of pipes, any ordered reliable
// byte stream.
//
// [Client] and [Server] make a [Session] of a connection, its carrier. Either end opens streams, with [Session.Open],
// and takes those of the other, with [Session.Accept]. A [Stream] is a net.Conn, with half close, and resets that have a code, as
// QUIC's streams have. Opening one costs no round trip, and resting no goroutine: a million of them is fine.
//
// Streams don't hinder each other. Each has its own window, which grows as its reader needs it; one that nobody
// reads stalls none of the others, and a small message does not wait behind the bulk of another stream. What the other end
// can make this one keep is bounded by [Limits], and it waits where it comes to a bound: a Write for the other end's
// reader, an Open for one of the other end's streams to go.
//
// Whatever waits ends with its context or deadline, with its stream, and with the session. A session ends when it is
// closed, with [Session.Close] or, once its streams have ended, [Session.Shutdown]; when its carrier fails; or when
// the other end is silent for too long, keep-alives included. Both ends get to know why.
//
// With [Resume] a session outlives its carrier, and goes on over another, which an [Acceptor] takes at the server's end.
//
// A session has two goroutines. Time is that of package time, so all of this runs in a testing/synctest bubble,
// if the carrier does.
//
// The protocol, and what is guaranteed, is in docs/mux.md.
package mux
