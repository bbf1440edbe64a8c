package astranet

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/xnet"
)

// Config has the settings of a node. The zero value is what [New] uses. A Config with which something is wrong gives a node whose every
// call fails with ErrConfig.
type Config struct {
	// ID is the node's number, by which others tell it from all others while it runs. 0 draws one at random. A server that has
	// the same one each time it starts is known again: what others had with the process before ends at once, and not after their
	// Grace. Nodes made of one by New, WithEnv and the like have the same, so of these
	// only one can be linked.
	ID uint64

	// Credentials are who the node is, and whom it believes. With them every link is TLS 1.3, and both ends prove their
	// names. The Credentials stay the caller's, who closes them after the node.
	Credentials *ca.Credentials

	// Insecure lets a node without Credentials have links with other machines. Whoever reaches its address can then dial, read
	// and pretend to be anybody.
	Insecure bool

	// Rules say who may dial and bind what. Nil allows everything.
	Rules *Rules

	// Backlog is how many dials may wait at one listener for an Accept; the next is refused. 0 means 4096.
	Backlog int

	// Grace is how long the streams between two nodes wait for a link when they have lost the last one. 0 means 30 s.
	Grace time.Duration

	// KeepAlive is how long a link may be silent before the other end is asked for a sign of life, and Timeout how long
	// before it counts as dead. 0 means 1 s and 3 s.
	KeepAlive, Timeout time.Duration

	// HandshakeTimeout is how long a connection may take to become a link. 0 means 5 s. HalfOpen is how many that came in
	// may be at that; one more ends the oldest. 0 means 256.
	HandshakeTimeout time.Duration
	HalfOpen         int

	// Networks are further networks that links may run over, beside TCP, unix sockets and WebSocket: Join and ListenAndServe take them
	// by the name that their Network method has, in place of "tcp" too if that is the name. So tests run a mesh over package
	// pipenet, in a testing/synctest bubble, and programs over proxies and overlays.
	Networks []xnet.Networker

	// Resolver looks up host names in Join. Nil means package net's.
	Resolver *net.Resolver

	// HTTPClient dials WebSocket links. Nil means a client without proxy, that for "wss" believes the system's
	// authorities.
	HTTPClient *http.Client

	// FromEnv makes the node, when it starts, join the TCP address that the environment has in MPXROUTER, and listen on
	// the one in SKYNET_BIND if it is a server. Failures of that are logged, and the first is tried again.
	FromEnv bool

	// Logger gets what an operator may want to know: links that come and go at Info, what was refused at Warn. Nil means nothing
	// is logged. Handlers must not block.
	Logger *slog.Logger
}

// check returns what is wrong with the settings.
func (c *Config) check() error {
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"Backlog", int64(c.Backlog)}, {"HalfOpen", int64(c.HalfOpen)}, {"Grace", int64(c.Grace)}, {"KeepAlive", int64(c.KeepAlive)},
		{"Timeout", int64(c.Timeout)}, {"HandshakeTimeout", int64(c.HandshakeTimeout)},
	} {
		if f.v < 0 {
			return fmt.Errorf("%w: %s is negative", ErrConfig, f.name)
		}
	}
	if c.Rules != nil {
		if err := c.Rules.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

func (c *Config) backlog() int             { return or(c.Backlog, 4096) }
func (c *Config) grace() time.Duration     { return or(c.Grace, 30*time.Second) }
func (c *Config) keepAlive() time.Duration { return or(c.KeepAlive, time.Second) }
func (c *Config) timeout() time.Duration   { return or(c.Timeout, 3*time.Second) }
func (c *Config) handshake() time.Duration { return or(c.HandshakeTimeout, 5*time.Second) }
func (c *Config) halfOpen() int            { return or(c.HalfOpen, 256) }
func (c *Config) logger() *slog.Logger     { return or(c.Logger, slog.New(slog.DiscardHandler)) }
func (c *Config) secured() bool            { return c.Credentials != nil }
func (c *Config) resolver() *net.Resolver  { return or(c.Resolver, net.DefaultResolver) }
