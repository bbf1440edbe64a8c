package mux_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/virtnet/virtnet/mux"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	return listenPair(t, "tcp", "127.0.0.1:0")
}

// sessions returns the two ends of a session.
func sessions(t testing.TB, pair func(testing.TB) (a, b net.Conn)) (client, server *mux.Session) {
	t.Helper()
	a, b := pair(t)
	return sessionsOn(t, a, b, nil, nil)
}

// TestConn is golang.org/x/net/nettest's test of a net.Conn. What nettest calls c1 is the stream of who opened it or of
// who accepted it, on the session's client or its server.
func TestConn(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		for _, order := range []struct {
			name          string
			server, swaps bool
		}{
			{"client opens", false, false},
			{"client accepts", true, true},
			{"server opens", true, false},
			{"server accepts", false, true},
		} {
			t.Run(carrier.name+"/"+order.name, func(t *testing.T) {
				t.Parallel() // it sleeps most of the time
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					opener, acceptor := sessions(t, carrier.pair)
					if order.server {
						opener, acceptor = acceptor, opener
					}
					ctx := context.Background()
					opened, err := opener.Open(ctx)
					if err != nil {
						return nil, nil, nil, err
					}
					accepted, err := acceptor.Accept(ctx)
					if err != nil {
						return nil, nil, nil, err
					}
					c1, c2 = opened, accepted
					if order.swaps {
						c1, c2 = c2, c1
					}
					return c1, c2, func() { opener.Close(); acceptor.Close() }, nil
				})
			})
		}
	}
}

// TestConnInBubble runs that test in bubbles. Its parts are subtests of the test outside, since those in a bubble can have
// none; their goroutines are in the bubble all the same. Some parts sleep while others are busy, which has an end in a
// bubble only if the carrier takes time.
func TestConnInBubble(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct %v", direct), func(outer *testing.T) {
			synctest.Test(outer, func(t *testing.T) {
				nettest.TestConn(outer, func() (c1, c2 net.Conn, stop func(), err error) {
					client, server := sessions(t, link{delay: time.Millisecond, rate: 10e6}.pair)
					if direct {
						mux.SetDirect(client)
						mux.SetDirect(server)
					}
					c1, c2 = streamPair(t, client, server)
					return c1, c2, func() { client.Close(); server.Close() }, nil
				})
			})
		})
	}
}

// TestConnResumable runs that test on streams of a session that can be resumed, and keeps what it sends.
func TestConnResumable(t *testing.T) {
	for name, pair := range map[string]func() (a, b net.Conn){"tcp": tcpPairs(t), "pipe": bufferedPipe} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				r := newRig(t, pair, true, nil)
				c1, c2 = streamPair(t, r.client, r.server)
				return c1, c2, func() { r.client.Close(); r.server.Close() }, nil
			})
		})
	}
}
