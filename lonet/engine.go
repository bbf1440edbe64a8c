package lonet

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/virtnet/virtnet"
)

// engine connects hosts by loopback TCP. It accepts for all hosts of the sub-network on one socket.
type engine struct {
	network  string // full name
	osl      *net.TCPListener
	osladdr  string // where osl listens
	registry addrCache
	notifier virtnet.Notifier
	log      *slog.Logger

	life context.Context // ends when the engine is closed
	kill context.CancelFunc

	lead     leadership     // who accepts
	halfOpen *crowd         // incoming connections that are not past the handshake
	waiting  overdue        // incoming dials that wait for an Accept
	dialling overdue        // outgoing dials that wait for the reply
	serving  sync.WaitGroup // the accept loop, and the goroutines of incoming connections
}

const (
	// watchAfter is how long an incoming dial waits for an Accept before its dialler is watched.
	watchAfter = 10 * time.Millisecond
	// suspectAfter is how long a dial waits for the reply before it asks whether the one it waits for is the
	// process of that host at all: another program may have got the port of one that has died.
	suspectAfter = 100 * time.Millisecond
)

var _ virtnet.Engine = (*engine)(nil)

func (e *engine) VNetNewHost(ctx context.Context, hostname string, registry virtnet.Registry) error {
	return registry.Announce(ctx, hostname, e.osladdr)
}

// Close stops accepting, drops the connections whose handshake is under way, and waits for what it started.
func (e *engine) Close() error {
	e.kill()
	err := e.osl.Close()
	e.lead.close()
	e.halfOpen.close()
	e.serving.Wait()
	return err
}
