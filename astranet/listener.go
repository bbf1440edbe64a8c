package astranet

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// listener is a bound port. Dials wait in its queue until an Accept takes them, and tells the dialler so.
type listener struct {
	node    *node
	addr    Addr
	service string // full name; empty if it has none

	mu      sync.Mutex
	cond    sync.Cond
	unwatch func() bool // nil if no context ends it
	waiting []incoming  // from first on
	first   int
	cause   error     // why it is closed, nil while it is not
	pruned  time.Time // when dials that were given up were looked for
}

// incoming is a dial that waits.
type incoming struct {
	st       *mux.Stream
	peer     *peer
	port     uint32 // of the dialler
	answered bool   // the dialler knows that it is connected
}

var _ net.Listener = (*listener)(nil)

func (n *node) Bind(network, hp string) (net.Listener, error) {
	return n.BindContext(context.Background(), network, hp)
}

func (n *node) BindContext(ctx context.Context, network, hp string) (net.Listener, error) {
	err := n.start()
	l := &listener{node: n, addr: Addr{Net: network, Host: n.id, Node: n.name}}
	l.cond.L = &l.mu
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = l.bind(hp)
	}
	if err != nil {
		e := &net.OpError{Op: "listen", Net: network, Err: err}
		if l.addr.Port != 0 {
			e.Addr = &l.addr
		}
		return nil, e
	}
	if ctx.Done() != nil {
		l.watch(ctx)
	}
	return l, nil
}

// watch has ctx end the listener, which the node's Close may be doing at this moment.
func (l *listener) watch(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.unwatch = context.AfterFunc(ctx, func() { _ = l.Close() })
	}
}

// bind finds a port, and makes the service known.
func (l *listener) bind(hp string) error {
	name, port, _, err := splitPort(hp)
	if err != nil {
		return err
	}
	n := l.node
	l.addr.Port = port
	if name != "" {
		l.service = name + n.set.env
		if err := checkService(l.service); err != nil {
			return err
		}
	}
	if !n.set.Rules.allow(BindAction, n.name, "", l.service) {
		return &NodeError{Host: n.id, Node: n.name, Err: ErrDenied, Reason: "this node's rules forbid to bind " + quoteService(l.service)}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return ErrNodeClosed
	case port == 0:
		l.addr.Port = n.drawPortLocked()
	case n.listeners[port] != nil:
		return ErrPortInUse
	}
	if l.service != "" && (n.services.count(l.service, n.id) >= mostInstances || n.named >= mostServices) {
		return ErrTooMany
	}
	n.listeners[l.addr.Port] = l
	if l.service != "" {
		n.named++
		n.services.add(l.id())
		n.announceLocked(l.id(), true)
	}
	return nil
}

func (l *listener) id() ServiceId {
	return ServiceId{Service: l.service, Host: l.addr.Host, Port: l.addr.Port, Node: l.addr.Node}
}

// drawPort draws a port for one end of a connection, or a listener. Few are taken, and a second round comes after 4 billion.
func (n *node) drawPort() uint32 {
	for {
		if p := n.lastPort.Add(1); p > firstPort {
			return p
		}
		n.lastPort.CompareAndSwap(0, firstPort)
	}
}

// drawPortLocked draws one that nobody listens at. It is called with mu held.
func (n *node) drawPortLocked() uint32 {
	for {
		if p := n.drawPort(); n.listeners[p] == nil {
			return p
		}
	}
}

// Addr returns the address listened on, an *[Addr].
func (l *listener) Addr() net.Addr { return &l.addr }

// Accept waits for a dial, and returns the connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		in, err := l.take()
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: l.addr.Net, Addr: &l.addr, Err: err}
		}
		if in.answered || l.answer(in) {
			return &conn{st: in.st, peer: in.peer, network: l.addr.Net, port: l.addr.Port, other: in.port}, nil
		}
	}
}

func (l *listener) take() (incoming, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.first == len(l.waiting) && l.cause == nil {
		l.cond.Wait()
	}
	if l.cause != nil {
		return incoming{}, l.cause
	}
	in := l.waiting[l.first]
	l.waiting[l.first] = incoming{}
	if l.first++; l.first == len(l.waiting) {
		l.waiting, l.first = l.waiting[:0], 0
	}
	return in, nil
}

// put has a dial wait for an Accept. It returns why that can't be.
func (l *listener) put(in incoming) refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return refusal{codeRefused, listenerClosed}
	}
	most := l.node.set.backlog()
	if len(l.waiting)-l.first >= most && !in.answered && time.Since(l.pruned) > pruneEvery {
		l.pruned = time.Now()
		l.keep(func(in incoming) bool { return in.st.Err() == nil })
	}
	if len(l.waiting)-l.first >= most && !in.answered {
		return refusal{codeRefused, "too many dials wait for an Accept"}
	}
	if len(l.waiting) == cap(l.waiting) && l.first > len(l.waiting)/2 {
		l.keep(func(incoming) bool { return true })
	}
	l.waiting = append(l.waiting, in)
	l.cond.Signal()
	return refusal{}
}

const (
	listenerClosed = "the listener was closed"
	// pruneEvery is how often it is looked for dials that were given up, when the queue is full.
	pruneEvery = 10 * time.Millisecond
)

// keep drops dials, and the room of those that were taken. It is called with mu held.
func (l *listener) keep(keep func(incoming) bool) {
	kept := l.waiting[:0]
	for _, in := range l.waiting[l.first:] {
		if keep(in) {
			kept = append(kept, in)
		} else {
			_ = in.st.Close()
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting, l.first = kept, 0
}

// Close ends the listener. Dials that wait are refused. Connections that were accepted stay.
func (l *listener) Close() error {
	l.end(net.ErrClosed)
	return nil
}

// end is Close. The cause is what Accept returns from then on.
func (l *listener) end(cause error) {
	n := l.node
	n.mu.Lock()
	if n.listeners[l.addr.Port] != l {
		n.mu.Unlock()
		return
	}
	delete(n.listeners, l.addr.Port)
	if l.service != "" {
		n.named--
		n.services.remove(l.id())
		n.announceLocked(l.id(), false)
	}
	n.mu.Unlock()
	l.mu.Lock()
	l.cause = cause
	if l.unwatch != nil {
		l.unwatch()
	}
	waiting := l.waiting[l.first:]
	l.waiting, l.first = nil, 0
	l.cond.Broadcast()
	l.mu.Unlock()
	if len(waiting) > 0 {
		refuseAll(waiting)
	}
}

// refuseAll refuses dials, since their listener is closed. It does not wait for long for those that do not take it.
func refuseAll(waiting []incoming) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		deadline := time.Now().Add(answerPatience)
		for _, in := range waiting {
			if in.answered {
				_ = in.st.Reset(codeRefused)
				_ = in.st.Close()
				continue
			}
			refuse(in.st, refusal{codeRefused, listenerClosed}, deadline)
		}
	}()
	soon := time.NewTimer(answerSoon)
	defer soon.Stop()
	select {
	case <-done:
	case <-soon.C:
	}
}
