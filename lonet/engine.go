package lonet

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
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

	leading  overdue        // the serve that shakes hands
	slow     atomic.Bool    // the last request did not come right behind its connection
	halfOpen overdue        // incoming connections whose request has not come yet
	waiting  overdue        // incoming dials that wait for an Accept
	dialling overdue        // outgoing dials that wait for the reply
	serving  sync.WaitGroup // the accept loop, and the goroutines of incoming connections
}

const (
	// leadAfter is how long a handshake may keep the accept loop.
	leadAfter = time.Millisecond
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
	e.halfOpen.close()
	e.serving.Wait()
	return err
}

// acceptBackoff is how long the accept loop waits when the system has no descriptor or memory for a
// connection. Established ones go on; those that wait in the socket's queue are accepted once there is.
const acceptBackoff = 20 * time.Millisecond

// serve accepts connections until the engine is closed.
//
// It shakes hands itself as long as that is quick, for another goroutine would cost a good part of a dial:
// requests come right behind their connections. When one does not, another serve takes over, and while that has
// happened to the last connection, the next ones get goroutines of their own.
func (e *engine) serve() {
	for {
		conn, err := e.osl.AcceptTCP()
		switch {
		case err != nil:
			if !e.acceptFailed(err) {
				return
			}
		case e.slow.Load():
			e.serving.Go(func() { e.serveConn(conn) })
		default:
			var self watched
			e.leading.add(&self, func() {
				e.slow.Store(true)
				e.serving.Go(e.serve)
			})
			e.serveConn(conn)
			if !e.leading.remove(&self) {
				return
			}
		}
	}
}

// acceptFailed tells whether to go on accepting.
func (e *engine) acceptFailed(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		if e.life.Err() == nil {
			e.notifier.VNetDown(err)
		}
		return false
	}
	e.log.Warn("lonet: accept", "network", e.network, "err", err)
	select {
	case <-e.life.Done():
	case <-time.After(acceptBackoff):
	}
	return true
}
