package virtnet

import (
	"context"
	"errors"
	"net"

	"github.com/virtnet/virtnet/xnet"
)

// listener is a socket that accepts. Dials and Accepts that find nobody wait in its queues, and whoever comes
// second does the work of both sides: it takes the first of the other kind out of its queue, and gives the
// connection its port. All of that happens under host.mu, so that a dial or Accept whose context ends either
// still is in its queue, and leaves it, or was taken, and then the result counts.
type listener struct {
	host *Host
	addr Addr

	// Guarded by host.mu.
	closed  bool
	dials   queue[dialler]  // they wait for an Accept
	accepts queue[acceptor] // they wait for a dial
	taken   queue[acceptor] // they have a dial, and wait for the engine's word on Ack
}

var _ xnet.Listener = (*listener)(nil)

// dialler is a VNetAccept that waits for an Accept.
type dialler struct {
	src     *Addr
	carrier net.Conn
	ready   chan *Accept // takes one value: the Accept, or nil when the listener went down
}

// acceptor is an Accept call that waits. What wakes it is a value on Accept.Ack: the engine's, or
// errInterrupted.
type acceptor struct {
	Accept
	conn    *Conn    // the connection, once there is a dial
	carrier net.Conn // what it runs on; the engine's until Ack
}

// errInterrupted wakes an acceptor because the listener went down.
var errInterrupted = errors.New("BUG: interrupted Accept")

// Addr returns the address listened on.
func (l *listener) Addr() net.Addr { return &l.addr }

// Accept waits for a dial, takes it, and returns the connection, which has a port of its own on the host.
//
// The error is a *net.OpError whose Err is ErrSockDown, ErrHostDown, ErrNetDown or the error of ctx.
func (l *listener) Accept(ctx context.Context) (net.Conn, error) {
	for {
		c, err := l.acceptOne(ctx)
		switch {
		case err != nil:
			return nil, l.opError("accept", err)
		case c != nil:
			return c, nil
		}
	}
}

// acceptOne takes the next dial. It returns nil, nil for one that was given up before it could be answered.
func (l *listener) acceptOne(ctx context.Context) (*Conn, error) {
	h := l.host
	w := &item[acceptor]{value: acceptor{Accept: Accept{Ack: make(chan error, 1)}}}
	h.mu.Lock()
	if err := l.downErr(); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	if d := l.dials.pop(); d != nil {
		l.take(w, d.value.src, d.value.carrier)
		h.mu.Unlock()
		d.value.ready <- &w.value.Accept
	} else {
		if err := ctx.Err(); err != nil {
			h.mu.Unlock()
			return nil, err
		}
		l.accepts.push(w)
		h.mu.Unlock()
	}

	err := l.wait(ctx, w)

	h.mu.Lock()
	w.leave()
	c := w.value.conn
	if err != nil && c != nil {
		h.ports.remove(c, c.local.Port)
	}
	down := l.downErr()
	h.mu.Unlock()
	switch {
	case err == nil:
		if err := c.attach(w.value.carrier); err != nil {
			h.unbind(c, c.local.Port)
			return nil, err
		}
		return c, nil
	case err == errInterrupted:
		if c != nil {
			go w.value.abandon()
		}
		return nil, down
	case c == nil: // the context's
		return nil, err
	}
	return nil, nil
}

// wait waits for a word on Ack, and returns it, or the context's error if no dial came before that.
func (l *listener) wait(ctx context.Context, w *item[acceptor]) error {
	ack := w.value.Ack
	if ctx.Done() == nil {
		return <-ack
	}
	select {
	case err := <-ack:
		return err
	case <-ctx.Done():
	}
	l.host.mu.Lock()
	waiting := w.in == &l.accepts
	if waiting {
		w.leave()
	}
	l.host.mu.Unlock()
	if waiting {
		return ctx.Err()
	}
	return <-ack // it was taken, or interrupted
}

// abandon waits for the engine's word on a connection that nobody wants any more.
func (a *acceptor) abandon() {
	if err := <-a.Ack; err == nil {
		_ = a.carrier.Close() // it was to be a connection of a host that is down
	}
}

// take makes w the acceptor of a dial, with a connection at a port of its own. It is called with host.mu held.
func (l *listener) take(w *item[acceptor], src *Addr, carrier net.Conn) {
	c := &Conn{host: l.host, local: Addr{l.addr.Net, l.addr.Host, 0}, remote: src}
	c.local.Port = l.host.ports.put(c, 0)
	w.value.Addr = &c.local
	w.value.conn = c
	w.value.carrier = carrier
	w.leave()
	l.taken.push(w)
}

// accept is VNetAccept for a host that is here.
func (h *Host) accept(ctx context.Context, src, dst *Addr, carrier net.Conn) (*Accept, error) {
	h.mu.Lock()
	l, ok := h.ports.get(dst.Port).(*listener)
	if !ok || l.downErr() != nil {
		h.mu.Unlock()
		return nil, ErrConnRefused
	}
	if w := l.accepts.pop(); w != nil {
		l.take(w, src, carrier)
		h.mu.Unlock()
		return &w.value.Accept, nil
	}
	if l.dials.n >= h.subnet.backlog {
		h.mu.Unlock()
		return nil, ErrConnRefused
	}
	if err := ctx.Err(); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	d := &item[dialler]{value: dialler{src, carrier, make(chan *Accept, 1)}}
	l.dials.push(d)
	h.mu.Unlock()

	var a *Accept
	select {
	case a = <-d.value.ready:
	case <-ctx.Done():
		h.mu.Lock()
		waiting := d.in != nil
		d.leave()
		h.mu.Unlock()
		if waiting {
			return nil, ctx.Err()
		}
		a = <-d.value.ready // it is there, or about to be
	}
	if a != nil {
		return a, nil
	}
	if h.subnet.down.Load() {
		return nil, ErrNetDown
	}
	return nil, ErrConnRefused
}

// Close stops listening: pending and later Accepts fail with ErrSockDown, waiting dials are refused, and the
// port is free again. Connections stay. A second Close returns nil.
func (l *listener) Close() error {
	h := l.host
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports.remove(l, l.addr.Port)
	l.closed = true
	l.interrupt()
	return nil
}

func (l *listener) shutdown() {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	l.interrupt()
}

// interrupt wakes everybody who waits at the listener. It is called with host.mu held.
func (l *listener) interrupt() {
	for d := l.dials.pop(); d != nil; d = l.dials.pop() {
		d.value.ready <- nil
	}
	for _, q := range []*queue[acceptor]{&l.accepts, &l.taken} {
		for w := q.pop(); w != nil; w = q.pop() {
			select {
			case w.value.Ack <- errInterrupted:
			default: // the engine's word is there already
			}
		}
	}
}

// downErr returns what is down, the widest first, or nil. It is called with host.mu held.
func (l *listener) downErr() error {
	if err := l.host.downErr(); err != nil {
		return err
	}
	if l.closed {
		return ErrSockDown
	}
	return nil
}

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.addr.Net, Addr: &l.addr, Err: err}
}
