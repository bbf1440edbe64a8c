package virtnettest

import (
	"context"
	"net"
	"time"

	"github.com/virtnet/virtnet"
)

var queueClauses = []clause{{
	name: "QueueFull",
	why:  "as many dials as the backlog has room for wait at a listener, and the next is refused. If more wait, a crowd of diallers exhausts the process; if fewer, a burst is lost. Network.Backlog has to be what the networks are made with",
	run:  testQueueFull,
}, {
	name: "QueueServed",
	why:  "every dial that waits is served, each by one Accept",
	run:  testQueueServed,
}, {
	name: "QueueNoGhosts",
	why:  "a dial given up while it waited never comes out of Accept, and its place is free for another. An engine has to notice that the dialler is gone, and to end the context of VNetAccept",
	run:  testNoGhosts,
}, {
	name: "QueueTimedOut",
	why:  "as QueueNoGhosts, for dials whose context ran into its deadline",
	run:  testNoTimedOutGhosts,
}, {
	name: "QueueNoAcceptLost",
	why:  "an Accept given up while it waited takes no dial with it: the next Accept gets the dial",
	run:  testNoAcceptLost,
}}

// backlog is how many dials may wait.
func (w *world) backlog() int {
	if w.net.Backlog == 0 {
		return 4096
	}
	return w.net.Backlog
}

func testQueueFull(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()

	// One more than there is room for: one of them, whichever comes last, is refused.
	n := w.backlog() + 1
	results := make(chan error, n)
	conns := make(chan net.Conn, n)
	for range n {
		go func() {
			c, err := a.Dial(ctx, "β:1")
			if err == nil {
				conns <- c
			}
			results <- err
		}()
	}
	result := func() error {
		w.Helper()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case err := <-results:
			return err
		case <-timer.C:
			w.Fatalf("%d dials at a listener with room for %d: none is refused", n, n-1)
			return nil
		}
	}
	w.wantError("Dial at a full queue", result(), opError{"dial", "α:*", "β:1", virtnet.ErrConnRefused})
	w.settle()
	select {
	case err := <-results:
		w.Fatalf("%d dials at a listener with room for %d: a second one returns, %q", n, n-1, errText(err))
	default:
	}
	// Who is taken out makes room.
	d := startAccept(w.ctx, l).succeeds(w)
	if err := result(); err != nil {
		w.Fatalf("a dial in the queue, when one is accepted: %v", err)
	}
	wantPing(w, d, <-conns)
	late := startDial(ctx, a, "β:1")
	w.settle()
	late.waits(w, "when there is room again")
	_, err := a.Dial(w.ctx, "β:1")
	w.wantError("Dial at a queue that is full again", err, opError{"dial", "α:*", "β:1", virtnet.ErrConnRefused})

	_ = l.Close()
	for range n - 2 {
		w.wantError("Dial in a queue whose listener is closed", result(), opError{"dial", "α:*", "β:1", virtnet.ErrConnRefused})
	}
	late.fails(w, opError{"dial", "α:*", "β:1", virtnet.ErrConnRefused})
}

func testQueueServed(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	n := min(w.backlog(), 40)
	var dials []*call[net.Conn]
	for range n {
		dials = append(dials, startDial(w.ctx, a, "β:1"))
	}
	w.settle()
	seen := make(map[string]bool)
	for i := range n {
		d := startAccept(w.ctx, l).succeeds(w)
		if got, want := d.LocalAddr().String(), at(b, i+2); got != want {
			w.Errorf("accepted connection %d is at %s, want %s", i, got, want)
		}
		seen[d.RemoteAddr().String()] = true
	}
	for _, dial := range dials {
		c := dial.succeeds(w)
		if !seen[c.LocalAddr().String()] {
			w.Errorf("nobody accepted the dial from %s", c.LocalAddr())
		}
	}
}

func testNoGhosts(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	var dials []*call[net.Conn]
	for range min(w.backlog(), 20) {
		dials = append(dials, startDial(ctx, a, "β:1"))
	}
	w.settle()
	cancel()
	for _, d := range dials {
		d.fails(w, opError{"dial", "α:*", "β:1", context.Canceled})
	}
	w.settle()
	wantNoGhosts(w, a, b, startAccept(w.ctx, l))
}

func testNoTimedOutGhosts(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	ctx, cancel := context.WithTimeout(w.ctx, moment)
	defer cancel()
	var dials []*call[net.Conn]
	for range min(w.backlog(), 20) {
		dials = append(dials, startDial(ctx, a, "β:1"))
	}
	for _, d := range dials {
		d.fails(w, opError{"dial", "α:*", "β:1", context.DeadlineExceeded})
	}
	w.settle()
	wantNoGhosts(w, a, b, startAccept(w.ctx, l))
}

// wantNoGhosts checks that Accept does not return before a further dial, and then for that.
func wantNoGhosts(w *world, a, b *virtnet.Host, accept *call[net.Conn]) {
	w.Helper()
	w.settle()
	accept.waits(w, "after all dials were given up")
	// Something at α:1, so that the dial that counts comes from another port than the former ones did.
	w.listen(a, ":1")
	c := startDial(w.ctx, a, "β:1").succeeds(w)
	d := accept.succeeds(w)
	w.wantAddrs(d, "β:2", "α:2")
	w.wantAddrs(c, "α:2", "β:2")
	wantPing(w, c, d)
	w.wantFree(b, 3, "after dials were given up")
}

func testNoAcceptLost(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	for range 20 {
		ctx, cancel := context.WithCancel(w.ctx)
		given := startAccept(ctx, l)
		w.settle()
		cancel()
		given.fails(w, opError{"accept", "", "β:1", context.Canceled})
		c, d := w.connect(a, l)
		w.wantAddrs(c, "α:1", "β:2")
		wantPing(w, c, d)
		_ = c.Close()
		_ = d.Close()
	}
}
