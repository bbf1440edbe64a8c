package peer

import (
	"net"
	"sync"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// direct is the carrier itself, with a connection for each stream.
type direct struct {
	carrier.Carrier
	noAccept
}

func openTCP(c carrier.Carrier) (Net, error) { return &direct{c, newNoAccept()}, nil }

func (d *direct) Close() {
	d.Carrier.Close()
	d.noAccept.close()
}

// noAccept is an AcceptBack where the client's end has none.
type noAccept struct {
	closed chan struct{}
	close  func()
}

func newNoAccept() noAccept {
	closed := make(chan struct{})
	return noAccept{closed, sync.OnceFunc(func() { close(closed) })}
}

func (a noAccept) AcceptBack() (net.Conn, error) {
	<-a.closed
	return nil, net.ErrClosed
}
