package virtnet

import (
	"context"
	"net"
)

// notifier is the Notifier of a sub-network: a type of its own, so that users of SubNetwork don't see what is
// for engines.
type notifier SubNetwork

var (
	_ Notifier  = (*notifier)(nil)
	_ Connecter = (*notifier)(nil)
)

func (nn *notifier) VNetAccept(ctx context.Context, src, dst *Addr, netconn net.Conn) (*Accept, error) {
	c, err := nn.accept(ctx, dial{src, netconn, false}, dst)
	if err != nil {
		return nil, err
	}
	return &c.accept, nil
}

func (nn *notifier) VNetConnect(ctx context.Context, src, dst *Addr, netconn net.Conn) (*Addr, error) {
	c, err := nn.accept(ctx, dial{src, netconn, true}, dst)
	if err != nil {
		return nil, err
	}
	return &c.local, nil
}

func (nn *notifier) accept(ctx context.Context, d dial, dst *Addr) (*Conn, error) {
	n := (*SubNetwork)(nn)
	n.mu.Lock()
	h := n.hosts[dst.Host]
	n.mu.Unlock()
	switch {
	case n.down.Load():
		return nil, ErrNetDown
	case h == nil:
		return nil, &noHostAt{net.AddrError{Err: ErrNoHost.Error(), Addr: dst.String()}}
	}
	return h.accept(ctx, d, dst.Port)
}

func (nn *notifier) VNetDown(err error) { (*SubNetwork)(nn).shutdown(err) }

// noHostAt is a *net.AddrError that matches ErrNoHost.
type noHostAt struct{ net.AddrError }

func (e *noHostAt) Unwrap() []error { return []error{ErrNoHost, &e.AddrError} }
