package lonet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet/internal/registry"
)

// Config has the settings of a sub-network. The zero value is what [Join] uses.
type Config struct {
	// TempDir is the directory in which the directory "lonet" is. Empty means os.TempDir(). All processes of a
	// network must agree on it.
	TempDir string

	// Backlog is how many dials may wait at one listener for an Accept; the next is refused. 0 means 4096.
	// Negative means none: a dial succeeds only while an Accept waits.
	Backlog int

	// Emulator shapes what this process's hosts send, if it is not nil: see package netem. Connections are then copied
	// in user space.
	Emulator virtnet.Emulator

	// HandshakeTimeout is how long who connects may take to say what it wants; then it is dropped. 0 or negative means
	// 10 s.
	HandshakeTimeout time.Duration

	// HalfOpen is how many may be connected at once who have not said yet what they want, or were turned away and have
	// not gone yet, for which they have a second. Each costs a descriptor and a goroutine. Who comes when there are that
	// many gets the place of the one who has been silent longest: that one is dropped, and gone before the next is
	// taken, so that there is never more than one above the limit. One is dropped also when no descriptor is left for
	// who comes. 0 or negative means 1024.
	HalfOpen int

	// Log gets what happens between processes and concerns no call: at level Warn that no connection can be
	// accepted for want of descriptors or memory, and that it is over, and that the registry was lost, or is damaged,
	// what has become of it, and which hosts have lost their names by that; at level Debug each incoming connection that
	// was turned away. What others have sent is in it with its unprintable characters escaped, and cut at 200 bytes. The
	// handler may be called on goroutines that wait in Accept. nil means no log.
	Log *slog.Logger
}

func (c Config) handshakeTimeout() time.Duration {
	if c.HandshakeTimeout <= 0 {
		return 10 * time.Second
	}
	return c.HandshakeTimeout
}

func (c Config) halfOpen() int {
	if c.HalfOpen <= 0 {
		return 1024
	}
	return c.HalfOpen
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// Join joins the network and returns this process's sub-network, which has no hosts yet. A network that isn't
// there is made. An empty name makes a new network with a random name that no other has. The sub-network's Network is
// "lonet" and the name, so that strings.TrimPrefix(n.Network(), "lonet") is what another process joins.
//
// The name follows the rules of [virtnet.SubNetwork.NewHost]. A process may join a network more than once.
//
// If somebody removes, replaces or spoils the files of the network, the sub-network notices within a second, or with
// the next call that needs them, and has its hosts registered again. Its connections do not notice. What cannot be mended
// is an error of NewHost, and of dials to hosts that are not known, until it can. A name that another process
// has taken meanwhile stays that one's: the host goes on, but who does not know it already dials the other.
//
// The directory of a network stays when the last process has left: nobody can tell that no other is about to join.
// [Config.GC] removes it. One with a random name goes when the sub-network is closed, if no other is on it then. Tests use
// Config{TempDir: t.TempDir()}, which goes with the test.
func Join(ctx context.Context, network string) (*virtnet.SubNetwork, error) {
	return Config{}.Join(ctx, network)
}

// Join is the package's function Join with these settings.
func (c Config) Join(ctx context.Context, network string) (*virtnet.SubNetwork, error) {
	n, err := c.join(ctx, network)
	if err != nil {
		return nil, fmt.Errorf("lonet: join %q: %w", network, err)
	}
	return n, nil
}

func (c Config) join(ctx context.Context, network string) (*virtnet.SubNetwork, error) {
	for {
		n, err := c.joinAtPort(ctx, network)
		if errors.Is(err, registry.ErrMarked) && ctx.Err() == nil {
			continue // the next port will do
		}
		return n, err
	}
}

func (c Config) joinAtPort(ctx context.Context, network string) (*virtnet.SubNetwork, error) {
	osl, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	e := &engine{
		osl:      osl,
		osladdr:  osl.Addr().String(),
		log:      c.log(),
		lead:     leadership{hurry: overdue{after: hurryAfter}},
		halfOpen: newCrowd(c.halfOpen(), c.handshakeTimeout()),
		waiting:  overdue{after: watchAfter},
		dialling: overdue{after: suspectAfter},
	}
	e.registry.Registry, err = registry.Config{TempDir: c.TempDir, Probe: e.probe, Log: c.Log}.Open(ctx, network, e.osladdr)
	if err != nil {
		_ = osl.Close()
		return nil, err
	}
	e.network = "lonet" + e.registry.Network()
	e.life, e.kill = context.WithCancel(context.Background())
	n, notifier := virtnet.Config{Backlog: c.Backlog, Emulator: c.Emulator}.NewSubNetwork(e.network, e, &e.registry)
	e.notifier = notifier
	e.lead.serving = &e.serving
	go e.takeOver()
	return n, nil
}

// listen makes the socket on which the sub-network accepts for all its hosts. It needs none of what
// package net turns on by default: there is nothing between two ends on one machine to keep alive, or to route around.
func listen(ctx context.Context) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
