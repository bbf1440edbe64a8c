package virtnettest

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/virtnet/virtnet"
)

var contextClauses = []clause{{
	name: "ContextEndsDial",
	why:  "a Dial that waits ends at once when its context does, with the context's error; a deadline is a timeout",
	run:  testContextDial,
}, {
	name: "ContextEndsAccept",
	why:  "an Accept that waits ends at once when its context does, with the context's error; a deadline is a timeout; the listener goes on",
	run:  testContextAccept,
}, {
	name: "ContextNotOfConn",
	why:  "the contexts of Dial, Listen, Accept and NewHost bound those calls, not what they return",
	run:  testContextNotOfConn,
}, {
	name: "Deadlines",
	why:  "a deadline interrupts a Read or Write at once, also one that is in progress, with os.ErrDeadlineExceeded, and taking it back makes the connection usable again",
	run:  testDeadlines,
}}

// past is a deadline that is over.
var past = time.Unix(1, 0)

func testContextDial(w *world) {
	a, b := w.pair()
	w.listen(b, ":1")
	want := opError{"dial", "α:1", "β:1", context.Canceled}

	ctx, cancel := context.WithCancel(w.ctx)
	d := startDial(ctx, a, "β:1")
	w.settle()
	d.waits(w, "before its context ends")
	cancel()
	d.fails(w, want)
	_, err := a.Dial(ctx, "β:1")
	w.wantError("Dial under a cancelled context", err, want)

	want.cause = context.DeadlineExceeded
	ctx, cancel = context.WithTimeout(w.ctx, 2*moment)
	defer cancel()
	startDial(ctx, a, "β:1").fails(w, want)
	_, err = a.Dial(ctx, "β:1")
	w.wantError("Dial under an expired context", err, want)
}

func testContextAccept(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	want := opError{"accept", "", "β:1", context.Canceled}

	ctx, cancel := context.WithCancel(w.ctx)
	accept := startAccept(ctx, l)
	w.settle()
	accept.waits(w, "before its context ends")
	cancel()
	accept.fails(w, want)
	startAccept(ctx, l).fails(w, want)

	want.cause = context.DeadlineExceeded
	ctx, cancel = context.WithTimeout(w.ctx, 2*moment)
	defer cancel()
	startAccept(ctx, l).fails(w, want)
	startAccept(ctx, l).fails(w, want)

	c, d := w.connect(a, l)
	wantPing(w, c, d)
}

func testContextNotOfConn(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	var hosts []*virtnet.Host
	for i, name := range []string{"α", "β"} {
		h, err := w.subs[i%len(w.subs)].NewHost(ctx, name)
		if err != nil {
			w.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	l, err := hosts[1].Listen(ctx, ":1")
	if err != nil {
		w.Fatal(err)
	}
	dial, accept := startDial(ctx, hosts[0], "β:1"), startAccept(ctx, l)
	c, d := dial.succeeds(w), accept.succeeds(w)
	cancel()
	w.settle()
	wantPing(w, c, d)
	c, d = w.connect(hosts[0], l)
	wantPing(w, c, d)
}

func testDeadlines(w *world) {
	a, b := w.pair()
	c, d := w.connect(a, w.listen(b, ":1"))
	for _, x := range []struct {
		own, peer   net.Conn
		local, remt string
	}{{c, d, "α:1", "β:2"}, {d, c, "β:2", "α:1"}} {
		wantRead := opError{"read", x.local, x.remt, os.ErrDeadlineExceeded}
		wantWrite := opError{"write", x.local, x.remt, os.ErrDeadlineExceeded}

		read := startRead(x.own)
		w.settle()
		read.waits(w, "without a deadline")
		must(w, x.own.SetReadDeadline(past))
		read.fails(w, wantRead)
		startRead(x.own).fails(w, wantRead)
		must(w, x.own.SetReadDeadline(time.Now().Add(2*moment)))
		startRead(x.own).fails(w, wantRead)

		must(w, x.own.SetDeadline(past))
		startFlood(x.own).fails(w, wantWrite)
		must(w, x.own.SetDeadline(time.Time{}))
		wantPing(w, x.own, x.peer)
	}

	write := startFlood(c)
	w.settle()
	must(w, c.SetWriteDeadline(past))
	write.fails(w, opError{"write", "α:1", "β:2", os.ErrDeadlineExceeded})

	_ = d.Close()
	if err := d.SetDeadline(past); !errors.Is(err, net.ErrClosed) {
		w.Errorf("SetDeadline on a closed connection: error %q, want net.ErrClosed in it", errText(err))
	}
	startRead(d).fails(w, opError{"read", "β:2", "α:1", virtnet.ErrSockDown})
}

func must(w *world, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}
