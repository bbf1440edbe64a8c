package virtnet

import (
	"context"
	"errors"
	"net"

	"github.com/virtnet/virtnet/internal/queue"
	"github.com/virtnet/virtnet/xnet"
)

// listener is a socket that accepts. Dials and Accepts that find nobody wait in its queues, and whoever comes
// second does the work of both sides: it takes the first of the other kind out of its queue, and gives the
// connection its port. All of that happens under host.mu, so that a dial or Accept whose context ends either
// still is in its queue, and leaves it, or was taken, and then the result counts.
//
// An accepted dial is settled at once (VNetConnect), or when the engine says so (VNetAccept, Ack).
type listener struct {
	host *Host
	addr Addr

	// Guarded by host.mu.
	closed  bool
	dials   queue.Queue[dialler]  // they wait for an Accept
	accepts queue.Queue[acceptor] // they wait for a dial
	taken   queue.Queue[acceptor] // they have a dial, and wait for the engine's word
	// Those that are done, to serve again: as many as ever waited at once.
	spareDials   queue.Queue[dialler]
	spareAccepts queue.Queue[acceptor]
}

var _ xnet.Listener = (*listener)(nil)

// dialler is a dial that waits for an Accept.
type dialler struct {
	dial
	accepted *Conn         // what became of it; nil if the listener went down. Read once done has a value
	done     chan struct{} // takes one value
}

// dial is what an engine asks the core to accept.
type dial struct {
	src     *Addr
	carrier net.Conn
	settled bool // once accepted; otherwise the engine's word is waited for
}

// acceptor is an Accept call that waits. What wakes it is a value on ack: the engine's word, or
// errInterrupted.
type acceptor struct {
	ack     chan error
	conn    *Conn    // the connection, once there is a dial
	carrier net.Conn // what it will run on
}

// errInterrupted wakes an acceptor because the listener went down.
var errInterrupted = errors.New("BUG: interrupted Accept")

// Addr returns the address listened on.
func (l *listener) Addr() net.Addr { return &l.addr }

// Accept waits for a dial, takes it, and returns the connection, which has a port of its own on the host. Once it
// has taken a dial it waits for the engine's word on it ([Accept.Ack]), even if ctx ends meanwhile.
//
// The error is a *net.OpError whose Err is ErrSockDown, ErrHostDown, ErrNetDown or the error of ctx.
func (l *listener) Accept(ctx context.Context) (net.Conn, error) {
	for {
		c, err := l.accept(ctx)
		switch {
		case err != nil:
			return nil, l.opError("accept", err)
		case c != nil:
			return c, nil
		}
	}
}

// accept takes the next dial. It returns nil, nil for one that was given up before it could be answered.
func (l *listener) accept(ctx context.Context) (*Conn, error) {
	h := l.host
	cerr := ctx.Err()
	h.mu.Lock()
	if err := l.downErr(); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	var w *queue.Item[acceptor]
	if d := l.dials.Pop(); d != nil {
		c := l.newConn(d.Value.src)
		settled := d.Value.settled
		if settled {
			c.carry(d.Value.carrier, false)
		} else {
			w = l.take(c, d.Value.carrier, nil)
		}
		d.Value.accepted = c
		d.Value.done <- struct{}{} // it has room, so nobody waits with mu held
		if settled {
			h.mu.Unlock()
			return c, nil
		}
	} else {
		if cerr != nil {
			h.mu.Unlock()
			return nil, cerr
		}
		w = l.newAcceptor()
		l.accepts.Push(w)
	}
	h.mu.Unlock()
	if h.subnet.leader != nil {
		h.subnet.lead(ctx, w.Value.ack)
	}
	return l.wait(ctx, w)
}

// lead lends the engine the goroutine of an Accept that waits, until there is a word on ack, or ctx ends.
func (n *SubNetwork) lead(ctx context.Context, ack chan error) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, n.leader.VNetRecall)()
	}
	n.leader.VNetLead(func() bool { return len(ack) == 0 && ctx.Err() == nil })
}

// recall lets an Accept that leads see that it was interrupted. It is called without host.mu.
func (n *SubNetwork) recall() {
	if n.leader != nil {
		n.leader.VNetRecall()
	}
}

// wait waits until w has a dial that is settled.
func (l *listener) wait(ctx context.Context, w *queue.Item[acceptor]) (*Conn, error) {
	err := l.waitAck(ctx, w)

	h := l.host
	h.mu.Lock()
	c, carrier := w.Value.conn, w.Value.carrier
	w.Leave()
	if err != nil && c != nil {
		h.ports.remove(c, c.local.Port)
	}
	if err != errInterrupted {
		l.release(w)
	}
	down := l.downErr()
	h.mu.Unlock()
	switch {
	case err == nil && carrier == nil: // attached already
		return c, nil
	case err == nil:
		if err := c.attach(carrier, false); err != nil {
			h.unbind(c, c.local.Port)
			return nil, err
		}
		return c, nil
	case err == errInterrupted:
		if c != nil {
			go abandon(w.Value.ack, carrier)
		}
		return nil, down
	case c == nil: // the context's
		return nil, err
	}
	return nil, nil
}

// waitAck waits for a word on ack, and returns it, or the context's error if no dial came before that.
func (l *listener) waitAck(ctx context.Context, w *queue.Item[acceptor]) error {
	ack := w.Value.ack
	if ctx.Done() == nil {
		return <-ack
	}
	select {
	case err := <-ack:
		return err
	case <-ctx.Done():
	}
	l.host.mu.Lock()
	waiting := w.In() == &l.accepts
	if waiting {
		w.Leave()
	}
	l.host.mu.Unlock()
	if waiting {
		return ctx.Err()
	}
	return <-ack // it was taken, or interrupted
}

// abandon waits for the engine's word on a connection that was to be one of a host that is down.
func abandon(ack <-chan error, carrier net.Conn) {
	if err := <-ack; err == nil {
		_ = carrier.Close()
	}
}

// accept is VNetAccept and VNetConnect for a host that is here.
func (h *Host) accept(ctx context.Context, d dial, port int) (*Conn, error) {
	cerr := ctx.Err()
	h.mu.Lock()
	l, ok := h.ports.get(port).(*listener)
	if !ok || l.downErr() != nil {
		h.mu.Unlock()
		return nil, ErrConnRefused
	}
	if w := l.accepts.Pop(); w != nil {
		c := l.newConn(d.src)
		if d.settled {
			c.carry(d.carrier, false)
			w.Value.conn = c
			w.Value.ack <- nil // it has room, so nobody waits with mu held
		} else {
			l.take(c, d.carrier, w)
		}
		h.mu.Unlock()
		return c, nil
	}
	if l.dials.Len() >= h.subnet.backlog {
		h.mu.Unlock()
		return nil, ErrConnRefused
	}
	if cerr != nil {
		h.mu.Unlock()
		return nil, cerr
	}
	w := l.newDialler()
	w.Value.dial = d
	l.dials.Push(w)
	h.mu.Unlock()
	return l.waitDial(ctx, w)
}

// waitDial waits until an Accept has taken the dial.
func (l *listener) waitDial(ctx context.Context, w *queue.Item[dialler]) (*Conn, error) {
	h := l.host
	select {
	case <-w.Value.done:
		h.mu.Lock()
	case <-ctx.Done():
		h.mu.Lock()
		if w.In() != nil {
			w.Leave()
			l.releaseDial(w)
			h.mu.Unlock()
			return nil, ctx.Err()
		}
		<-w.Value.done // a result beats a cancellation; the value is there
	}
	c := w.Value.accepted
	l.releaseDial(w)
	h.mu.Unlock()
	switch {
	case c != nil:
		return c, nil
	case h.subnet.down.Load():
		return nil, ErrNetDown
	}
	return nil, ErrConnRefused
}

// newConn makes the connection of an accepted dial, at a port of its own. It is called with host.mu held.
func (l *listener) newConn(src *Addr) *Conn {
	c := &Conn{host: l.host, local: Addr{l.addr.Net, l.addr.Host, 0}, remote: src}
	c.local.Port = l.host.ports.put(c, 0)
	return c
}

// take lets w, or a new acceptor, wait for the engine's word on c. It is called with host.mu held.
func (l *listener) take(c *Conn, carrier net.Conn, w *queue.Item[acceptor]) *queue.Item[acceptor] {
	if w == nil {
		w = l.newAcceptor()
	}
	w.Value.conn, w.Value.carrier = c, carrier
	c.accept = Accept{Addr: &c.local, Ack: w.Value.ack}
	l.taken.Push(w)
	return w
}

// newAcceptor returns what an Accept waits with. It is called with host.mu held.
func (l *listener) newAcceptor() *queue.Item[acceptor] {
	if w := l.spareAccepts.Pop(); w != nil {
		return w
	}
	// There is room for the engine's word and for an interruption, so neither ever blocks.
	return &queue.Item[acceptor]{Value: acceptor{ack: make(chan error, 2)}}
}

// release keeps w for later calls. The engine has sent its one value on ack, or has never seen it. It is
// called with host.mu held.
func (l *listener) release(w *queue.Item[acceptor]) {
	select {
	case <-w.Value.ack: // an interruption that came too late
	default:
	}
	w.Value.conn, w.Value.carrier = nil, nil
	l.spareAccepts.Push(w)
}

// newDialler returns what a dial waits with. It is called with host.mu held.
func (l *listener) newDialler() *queue.Item[dialler] {
	if w := l.spareDials.Pop(); w != nil {
		return w
	}
	return &queue.Item[dialler]{Value: dialler{done: make(chan struct{}, 1)}}
}

// releaseDial keeps w for later calls. It is called with host.mu held.
func (l *listener) releaseDial(w *queue.Item[dialler]) {
	w.Value.dial, w.Value.accepted = dial{}, nil
	l.spareDials.Push(w)
}

// Close stops listening: pending and later Accepts fail with ErrSockDown, waiting dials are refused, and the
// port is free again. Connections stay. A second Close returns nil.
func (l *listener) Close() error {
	h := l.host
	h.mu.Lock()
	h.ports.remove(l, l.addr.Port)
	l.closed = true
	l.interrupt()
	h.mu.Unlock()
	h.subnet.recall()
	return nil
}

func (l *listener) shutdown() {
	l.host.mu.Lock()
	l.interrupt()
	l.host.mu.Unlock()
	l.host.subnet.recall()
}

// interrupt wakes everybody who waits at the listener. It is called with host.mu held.
func (l *listener) interrupt() {
	for w := l.dials.Pop(); w != nil; w = l.dials.Pop() {
		w.Value.done <- struct{}{}
	}
	for _, q := range []*queue.Queue[acceptor]{&l.accepts, &l.taken} {
		for w := q.Pop(); w != nil; w = q.Pop() {
			w.Value.ack <- errInterrupted
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
