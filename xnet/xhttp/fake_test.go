package xhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// limit is what a test waits for things that ought to happen at once.
const limit = 10 * time.Second

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// fakeNet is a network with hosts by name, each a listener on loopback.
type fakeNet struct {
	xnet.Networker
	noHost error // the cause of a dial to nobody

	mu     sync.Mutex
	hosts  map[string]string // "α:80" -> where it listens
	dialed []string
}

func newFakeNet(t testing.TB) *fakeNet {
	n := &fakeNet{Networker: xnet.NetPlain("tcp4"), noHost: errNoHost{}, hosts: make(map[string]string)}
	t.Cleanup(func() { n.Close() })
	return n
}

func (n *fakeNet) Network() string { return "fake" }

func (n *fakeNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, addr)
	to, ok := n.hosts[addr]
	n.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "fake", Err: fmt.Errorf("%s: %w", addr, n.noHost)}
	}
	if to == "" {
		return nil, errRefused
	}
	return n.Networker.Dial(ctx, to)
}

func (n *fakeNet) Listen(ctx context.Context, laddr string) (xnet.Listener, error) {
	l, err := n.Networker.Listen(ctx, "127.0.0.1:0")
	if err == nil {
		n.mu.Lock()
		n.hosts[laddr] = l.Addr().String()
		n.mu.Unlock()
	}
	return l, err
}

var errRefused = errors.New("refused")

// errNoHost is how virtual networks say it.
type errNoHost struct{}

func (errNoHost) Error() string    { return "no such host" }
func (errNoHost) NoSuchHost() bool { return true }
