package astranet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func (n *node) ListenAndServe(network, address string) error {
	n.start()
	err := n.listen(network, address)
	if err == nil {
		return nil
	}
	if n.ctx.Err() != nil {
		err = ErrNodeClosed
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return err
	}
	return &net.OpError{Op: "listen", Net: network, Addr: namedAddr{network, address}, Err: err}
}

func (n *node) listen(network, address string) error {
	k, err := n.carrierKind(network)
	if err != nil {
		return err
	}
	s, err := k.listen(n.ctx, address)
	if err != nil {
		return err
	}
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.carriers = append(n.carriers, s)
		n.work.Go(s.serve)
	}
	n.mu.Unlock()
	if closed {
		_ = s.Close()
		return ErrNodeClosed
	}
	return nil
}

// take makes a link of a connection that came, when there is room for another, and serves it on a goroutine until it ends.
func (n *node) take(c net.Conn) {
	ctx, done := n.waiting.add(n.ctx)
	if !n.spawn(func() { n.acceptLink(ctx, done, c) }) {
		done()
		_ = c.Close()
	}
}

func (n *node) acceptLink(ctx context.Context, done func(), c net.Conn) {
	h := &handshake{node: n, conn: c}
	link, err := h.run(ctx)
	done()
	if err != nil {
		n.refused(c, err)
		return
	}
	_ = link.serve(nil)
}

// refused logs why a connection did not become a link, if somebody may want to know.
func (n *node) refused(c net.Conn, err error) {
	if v, ok := errors.AsType[*verdictError](err); ok && v.linked() || errors.Is(err, ErrNodeClosed) {
		return
	}
	ok, unsaid := n.refusals.next(time.Now())
	if !ok {
		return
	}
	log := n.log
	if unsaid > 0 {
		log = log.With("others", unsaid)
	}
	log.Warn("a connection did not become a link", "from", c.RemoteAddr(), "why", err)
}

// mostRefusals is how many refusals are logged in a second: a crowd of strangers must not fill the disk.
const mostRefusals = 20

// logLimit limits how often something is logged.
type logLimit struct {
	mu     sync.Mutex
	since  time.Time
	said   int
	unsaid int
}

// next tells whether to log something now, and how many times it was not said since the last time.
func (l *logLimit) next(now time.Time) (ok bool, unsaid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= time.Second {
		l.since, l.said = now, 0
	}
	if l.said == mostRefusals {
		l.unsaid++
		return false, 0
	}
	l.said++
	unsaid, l.unsaid = l.unsaid, 0
	return true, unsaid
}

func (n *node) Handler() http.Handler {
	n.start()
	return http.HandlerFunc(n.serveWS)
}

// fromEnv does what the environment says.
func (n *node) fromEnv() {
	env := lookupEnv()
	if env.listen != "" && n.set.announces {
		n.spawn(func() {
			if err := n.ListenAndServe("tcp4", env.listen); err != nil {
				n.log.Warn("SKYNET_BIND: no links are taken", "why", err)
			}
		})
	}
	if env.join != "" {
		n.spawn(func() {
			if err := n.JoinContext(n.ctx, "tcp4", env.join); err != nil {
				n.log.Warn("MPXROUTER: not linked", "why", err)
			}
		})
	}
}

// environment is what the process's environment says.
type environment struct{ join, listen string }

func lookupEnv() environment { return environment{os.Getenv("MPXROUTER"), os.Getenv("SKYNET_BIND")} }
