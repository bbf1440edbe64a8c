package astranet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/xnet"
)

// A carrier is the connection below a link. There are several kinds, each with a file of its own.
type carrierKind interface {
	// check refuses addresses to Join that never work.
	check(address string) error
	// resolve returns the addresses that address stands for now, each of which dial takes.
	resolve(ctx context.Context, address string) ([]string, error)
	dial(ctx context.Context, address string) (net.Conn, error)
	// listen binds an address.
	listen(ctx context.Context, address string) (source, error)
}

// A source is where links come in.
type source interface {
	Addr() net.Addr
	Close() error
	// serve takes what comes until the source is closed.
	serve()
}

// carrierKind returns the kind that a network argument of Join or ListenAndServe means. The program's own go first.
func (n *node) carrierKind(network string) (carrierKind, error) {
	if n.invalid != nil {
		return nil, n.invalid
	}
	for _, nw := range n.set.Networks {
		if nw.Network() == network {
			return networkerCarrier{n, nw}, nil
		}
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return tcpCarrier{n, network}, nil
	case "unix":
		return unixCarrier{n}, nil
	case "ws", "wss":
		return wsCarrier{n, network}, nil
	}
	return nil, net.UnknownNetworkError(network)
}

// mayLink forbids a node that has neither Credentials nor is Insecure a link with another machine, if that can be seen.
func (n *node) mayLink(what string, with net.Addr) error {
	if n.invalid != nil {
		return n.invalid
	}
	if n.set.secured() || n.set.Insecure {
		return nil
	}
	var ip net.IP
	switch a := with.(type) {
	case *net.TCPAddr:
		ip = a.IP
	case *net.UDPAddr: // of QUIC, say
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	default:
		return nil
	}
	if !ip.IsLoopback() {
		return insecure(what + " " + with.String())
	}
	return nil
}

// insecure is the error of a node that has no credentials and wants to talk to other machines.
func insecure(what string) error {
	return fmt.Errorf("%w to %s: other machines could pretend to be anybody. Give the node Credentials, or set Insecure, in its Config", ErrDenied, what)
}

// networkerCarrier is one of Config.Networks.
type networkerCarrier struct {
	node *node
	xnet.Networker
}

func (networkerCarrier) check(string) error { return nil }

func (networkerCarrier) resolve(_ context.Context, address string) ([]string, error) {
	return []string{address}, nil
}

func (k networkerCarrier) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := k.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if err := k.node.mayLink("join", c.RemoteAddr()); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (k networkerCarrier) listen(ctx context.Context, address string) (source, error) {
	l, err := k.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	return &streamSource{xnet.BindCtxL(l, k.node.ctx), k.node}, nil
}

// streamSource is a listener whose connections become links.
type streamSource struct {
	net.Listener
	node *node
}

func (s *streamSource) serve() {
	n := s.node
	acceptAll(n, s, func(c net.Conn) {
		if err := n.mayLink("take a link from", c.RemoteAddr()); err != nil {
			_ = c.Close()
			n.refused(c, err)
			return
		}
		n.take(c)
	})
}

// acceptAll hands on what comes, until the listener is closed, or the node.
func acceptAll(n *node, l net.Listener, take func(net.Conn)) {
	delay := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 0
			take(c)
			continue
		}
		if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		// Such as too many open files: what comes is not lost, it waits.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		n.log.Warn("no connection can be taken now", "at", l.Addr(), "why", err)
		pause(n.ctx, delay)
	}
}

// steady hides the deadlines of a connection, unless it is of a kind that is known to survive them: mux interrupts its
// Reads by deadlines, and some connections, such as those made of WebSockets, end when one passes.
func steady(c net.Conn) net.Conn {
	if survivesDeadlines(c) {
		return c
	}
	return undated{c}
}

func survivesDeadlines(c net.Conn) bool {
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn, *pipe.Conn, *bridge, undated:
		return true
	case *tls.Conn:
		return survivesDeadlines(c.NetConn())
	}
	return false
}

// undated is a connection without deadlines.
type undated struct{ net.Conn }

var errNoDeadlines = fmt.Errorf("deadlines: %w", errors.ErrUnsupported)

func (undated) SetDeadline(time.Time) error      { return errNoDeadlines }
func (undated) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (undated) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// CloseWrite ends one direction, if the connection can do that.
func (c undated) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c any) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("half close: %w", errors.ErrUnsupported)
}
