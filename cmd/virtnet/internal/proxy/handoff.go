package proxy

import (
	"net"
	"sync"
)

// A handoff is the listener of the HTTP server: it accepts the clients that are given to it.
type handoff struct {
	addr   net.Addr
	given  chan net.Conn
	closed chan struct{}
	close  func()
}

func newHandoff(addr net.Addr) *handoff {
	h := &handoff{addr: addr, given: make(chan net.Conn), closed: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.closed) })
	return h
}

// give gives a connection to Accept, and returns once that has it. It is false if there is no Accept any more.
func (h *handoff) give(c net.Conn) bool {
	select {
	case h.given <- c:
		return true
	case <-h.closed:
		return false
	}
}

// Accept returns a connection that was given. The error is net.ErrClosed.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.given:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. A second Close returns nil.
func (h *handoff) Close() error {
	h.close()
	return nil
}

// Addr returns the address on which the clients arrive.
func (h *handoff) Addr() net.Addr { return h.addr }
