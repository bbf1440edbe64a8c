package proxy

import (
	"context"
	"net"
	"time"
)

// Config has the settings of a proxy.
type Config struct {
	// Dial connects to a virtual address; xnet.DialContext of a host. Required.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// MaxConns is how many clients may be connected at once. At the limit, one that has asked for nothing for a second
	// makes room for the next; if there is none, the next waits. 0 or negative means 1024.
	MaxConns int

	// HandshakeTimeout is how long a client may take to say what it speaks and, with HTTP, as long again to say what
	// it wants. 0 or negative means 10 s.
	HandshakeTimeout time.Duration

	// DialTimeout is how long a dial may wait for the other side to accept. 0 or negative means 30 s.
	DialTimeout time.Duration

	// IdleTimeout is how long an HTTP client may wait with its next request. 0 or negative means 2 min.
	IdleTimeout time.Duration

	// Tell is told what happens, on the goroutine to which it happens, so it shall not take long. nil means that
	// nobody wants to know.
	Tell func(Event)
}

// An Event is something that happens.
type Event struct {
	Kind     Kind
	Conn     int      // of Opened, Refused, Ended: number of the connection, from 1
	Protocol Protocol // likewise
	From     net.Addr // likewise: address of the client
	To       string   // likewise: address that it wants, as it wrote it, which may be anything; "" if it has not come to that
	Via      net.Addr // of Opened, Ended: virtual address from which it was dialled
	Peer     net.Addr // likewise: that which has accepted
	Sent     int64    // of Ended: bytes to Peer
	Received int64    // of Ended: bytes from Peer
	Err      error    // of Refused, Trouble: why; of Ended: what has broken it, if anything
}

// Kind is the kind of an event.
type Kind int

// The kinds of events.
const (
	Opened  Kind = iota // a virtual connection was dialled
	Refused             // what a client asked for was refused
	Ended               // a virtual connection has ended
	Trouble             // clients cannot be served as they should
)

// Protocol is what a client speaks.
type Protocol string

// What clients speak. Unknown is anything else.
const (
	SOCKS5  Protocol = "socks5"
	Connect Protocol = "connect" // HTTP CONNECT
	HTTP    Protocol = "http"    // plain HTTP, a connection for every request
	Unknown Protocol = "unknown"
)

func (c Config) maxConns() int { return or(c.MaxConns, 1024) }

func (c Config) handshakeTimeout() time.Duration { return or(c.HandshakeTimeout, 10*time.Second) }

func (c Config) dialTimeout() time.Duration { return or(c.DialTimeout, 30*time.Second) }

func (c Config) idleTimeout() time.Duration { return or(c.IdleTimeout, 2*time.Minute) }

func (c Config) tell(e Event) {
	if c.Tell != nil {
		c.Tell(e)
	}
}

// or returns v, or the default if v is not positive.
func or[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
