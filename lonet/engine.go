package lonet

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet/internal/registry"
)

// engine connects hosts by loopback TCP. It accepts for all hosts of the sub-network on one socket.
type engine struct {
	network  string // full name
	osl      *net.TCPListener
	osladdr  string // where osl listens
	registry *registry.Registry
	notifier virtnet.Notifier
	log      *slog.Logger

	life context.Context // ends when the engine is closed
	kill context.CancelFunc

	halfOpen halfOpen       // incoming connections whose request has not come yet
	serving  sync.WaitGroup // the accept loop, and the goroutines of incoming connections
}

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
func (e *engine) serve() {
	for {
		conn, err := e.osl.AcceptTCP()
		switch {
		case err == nil:
			e.serving.Go(func() { e.serveConn(conn) })
		case errors.Is(err, net.ErrClosed):
			if e.life.Err() == nil {
				e.notifier.VNetDown(err)
			}
			return
		default:
			e.log.Warn("lonet: accept", "network", e.network, "err", err)
			select {
			case <-e.life.Done():
			case <-time.After(acceptBackoff):
			}
		}
	}
}
