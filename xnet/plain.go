package xnet

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
)

// NetPlain returns an access-point to the operating system's own network: "tcp", "tcp4", "tcp6" or "unix". On
// any other Dial and Listen fail with net.UnknownNetworkError.
//
// Its name is that of the operating system's host, or "localhost" if that cannot be told. Addresses and errors
// are package net's, and connections are its *net.TCPConn and *net.UnixConn.
//
// Close fails dials in progress and closes the listeners opened through it. Connections already established
// are left alone, as package net leaves those of a closed listener alone: whoever has one closes it.
func NetPlain(network string) Networker {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	n := &plain{network: network, name: name, listeners: make(map[*plainListener]struct{})}
	n.down, n.shutdown = context.WithCancel(context.Background())
	return n
}

type plain struct {
	network, name string
	down          context.Context // done once closed
	shutdown      context.CancelFunc

	mu        sync.Mutex // guards listeners; down ends with it held
	listeners map[*plainListener]struct{}
}

func (n *plain) Network() string { return n.network }
func (n *plain) Name() string    { return n.name }

// check returns why an operation cannot even start, or nil.
func (n *plain) check() error {
	switch n.network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return net.UnknownNetworkError(n.network)
	}
	if n.down.Err() != nil {
		return net.ErrClosed
	}
	return nil
}

func (n *plain) Dial(ctx context.Context, addr string) (net.Conn, error) {
	err := n.check()
	if err == nil {
		var conn net.Conn
		ctx, release := until(ctx, n.down)
		defer release()
		conn, err = new(net.Dialer).DialContext(ctx, n.network, addr)
		if err == nil {
			return conn, nil
		}
		if n.down.Err() == nil {
			return nil, err
		}
		err = net.ErrClosed
	}
	return nil, &net.OpError{Op: "dial", Net: n.network, Addr: textAddr{n.network, addr}, Err: err}
}

func (n *plain) Listen(ctx context.Context, laddr string) (Listener, error) {
	err := n.check()
	if err == nil {
		var l net.Listener
		lctx, release := until(ctx, n.down)
		defer release()
		l, err = new(net.ListenConfig).Listen(lctx, n.network, laddr)
		if err == nil {
			pl := &plainListener{newCtxListener(l, n.network), n}
			if n.add(pl) {
				return pl, nil
			}
			l.Close()
		} else if n.down.Err() == nil {
			return nil, err
		}
		err = net.ErrClosed
	}
	return nil, &net.OpError{Op: "listen", Net: n.network, Addr: textAddr{n.network, laddr}, Err: err}
}

// add reports whether n was up, and Close will close l.
func (n *plain) add(l *plainListener) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down.Err() != nil {
		return false
	}
	n.listeners[l] = struct{}{}
	return true
}

func (n *plain) remove(l *plainListener) {
	n.mu.Lock()
	delete(n.listeners, l)
	n.mu.Unlock()
}

func (n *plain) Close() error {
	n.mu.Lock()
	n.shutdown()
	listeners := n.listeners
	n.listeners = nil
	n.mu.Unlock()
	var errs []error
	for l := range listeners {
		errs = append(errs, l.ctxListener.Close())
	}
	return errors.Join(errs...)
}

// plainListener is one that its Networker closes.
type plainListener struct {
	*ctxListener
	n *plain
}

func (l *plainListener) Close() error {
	l.n.remove(l)
	return l.ctxListener.Close()
}

// until returns a context that is done when either of the two is. release must be called.
func until(ctx, down context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(down, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// textAddr is an address as the caller gave it.
type textAddr struct{ network, text string }

func (a textAddr) Network() string { return a.network }
func (a textAddr) String() string  { return a.text }
