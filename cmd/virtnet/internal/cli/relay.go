package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

const (
	// dialTime is how long the other half of a connection may take to come about.
	dialTime = 30 * time.Second
	// acceptBackoff is how long to wait when the system has no descriptor or memory for a connection.
	acceptBackoff = 20 * time.Millisecond
)

// A relay leads every connection that it accepts to another that it dials for it.
type relay struct {
	accept func(context.Context) (net.Conn, error)
	dial   func(context.Context) (net.Conn, error)
	to     string // what is dialled, for people
	max    int    // how many connections there may be at once; the next waits to be accepted
	tell   *teller

	mu      sync.Mutex
	failing bool // the last dial failed
}

// run relays until ctx ends, and then returns nil; or until accept fails. It then resets the connections that there are,
// and returns when nothing is left of them.
func (r *relay) run(ctx context.Context) (err error) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() { cancel(err) }()
	room := make(chan struct{}, r.max)
	for number := 0; ; {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := r.accept(ctx)
		switch {
		case err == nil:
			number++
			n := number
			running.Go(func() {
				r.serve(ctx, c, n)
				<-room
			})
			continue
		case ctx.Err() != nil:
			return nil
		case !isTemporary(err):
			return err
		}
		<-room
		select {
		case <-ctx.Done():
		case <-time.After(acceptBackoff):
		}
	}
}

// isTemporary tells whether accepting may succeed later, as when there was no descriptor left.
func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// serve leads a connection to where it is to go, until it ends.
func (r *relay) serve(ctx context.Context, from net.Conn, number int) {
	bridge.Guard(from)
	e := event{Conn: number, From: addrText(from.RemoteAddr()), At: addrText(from.LocalAddr()), To: r.to}
	to, err := r.dialTo(ctx)
	if err != nil {
		bridge.Reset(from)
		e.Kind, e.Error = eventRefused, err.Error()
		r.tell.tell(e, r.isNews(err) && ctx.Err() == nil)
		return
	}
	bridge.Guard(to) // before anybody hears of it
	r.isNews(nil)
	e.Via, e.Accepted = addrText(to.LocalAddr()), addrText(to.RemoteAddr())
	e.Kind = eventOpen
	r.tell.tell(e, false)
	r.tell.tell(e.ended(bridge.Join(ctx, from, to)), false)
}

// dialTo dials the other half of a connection.
func (r *relay) dialTo(ctx context.Context) (net.Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c, err := r.dial(dctx)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case dctx.Err() != nil:
		return nil, fmt.Errorf("%w after %v", err, dialTime)
	}
	return nil, err
}

// isNews notes how a dial went. It tells whether it failed after one that did not: people hear of that, and not of every
// connection after it.
func (r *relay) isNews(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := r.failing
	r.failing = err != nil
	return err != nil && !failed
}
