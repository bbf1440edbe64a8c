package virtnettest

import (
	"context"
	"runtime"

	"github.com/virtnet/virtnet"
)

var portClauses = []clause{{
	name: "PortLowestFree",
	why:  "autobind takes the lowest free port, so tests can be written against port numbers: Listen(\"\"), Listen(\":0\"), every Dial, and every Accept when it takes a dial",
	run:  testLowestFree,
}, {
	name: "PortAccepted",
	why:  "an accepted connection gets a port of its own, the lowest free one, and the dialler sees that as its RemoteAddr: the engine has to hand on Accept.Addr",
	run:  testAcceptedPort,
}, {
	name: "PortBack",
	why:  "a port is free again once the listener or connection at it is closed",
	run:  testPortBack,
}, {
	name: "PortBackAfterFailedDial",
	why:  "a failed Dial gives its port back, whatever it failed for",
	run:  testPortBackAfterDial,
}, {
	name: "PortHigh",
	why:  "ports go up to 1<<31-1, and cost the same however high they are",
	run:  testHighPorts,
}, {
	name: "PortToSelf",
	why:  "a host can dial itself; an empty host in an address means itself, on Dial and on Listen",
	run:  testSelf,
}}

func testLowestFree(w *world) {
	a, b := w.pair()
	w.wantFree(a, 1, "at first")
	l1 := w.listen(a, "")
	l2 := w.listen(a, ":0")
	l3 := w.listen(a, "α:0")
	w.listen(a, ":5")
	for _, x := range []struct{ got, want string }{
		{l1.Addr().String(), "α:1"}, {l2.Addr().String(), "α:2"}, {l3.Addr().String(), "α:3"},
	} {
		if x.got != x.want {
			w.Errorf("autobound listener is at %s, want %s", x.got, x.want)
		}
	}
	lb := w.listen(b, ":2")
	c, d := w.connect(a, lb)
	w.wantAddrs(c, "α:4", "β:1")
	w.wantAddrs(d, "β:1", "α:4")
	c, d = w.connect(a, lb)
	w.wantAddrs(c, "α:6", "β:3")
	w.wantAddrs(d, "β:3", "α:6")
	_ = l2.Close()
	c, _ = w.connect(a, lb)
	w.wantAddrs(c, "α:2", "β:4")
}

func testAcceptedPort(w *world) {
	a, b := w.pair()
	c, d := w.connect(b, w.listen(a, ":1"))
	w.wantAddrs(c, "β:1", "α:2")
	w.wantAddrs(d, "α:2", "β:1")
	g := w.host(0, "γ")
	c, d = w.connect(b, w.listen(g, ":10"))
	w.wantAddrs(c, "β:2", "γ:1")
	w.wantAddrs(d, "γ:1", "β:2")
	c, d = w.connect(g, w.listen(b, ":0"))
	w.wantAddrs(c, "γ:2", "β:4")
	w.wantAddrs(d, "β:4", "γ:2")
}

func testPortBack(w *world) {
	a, b := w.pair()
	for range 3 {
		l := w.listen(b, ":1")
		c, d := w.connect(a, l)
		w.wantAddrs(c, "α:1", "β:2")
		_ = c.Close()
		w.wantFree(a, 1, "after Conn.Close of the end that dialled")
		_ = d.Close()
		w.wantFree(b, 2, "after Conn.Close of the end that accepted")
		_ = l.Close()
		w.wantFree(b, 1, "after Listener.Close")
	}
	// A port belongs to who has it now: closing the former one again must not free it.
	l := w.listen(b, ":1")
	_ = l.Close()
	w.listen(b, ":1")
	_ = l.Close()
	w.wantFree(b, 2, "after closing a former listener again")
}

func testPortBackAfterDial(w *world) {
	a, b := w.pair()
	w.listen(b, ":1")
	cancelled, cancel := context.WithCancel(w.ctx)
	cancel()
	for _, x := range []struct {
		name, addr string
		ctx        context.Context
	}{
		{"refused", "β:7", w.ctx},
		{"to port 0", "β:0", w.ctx},
		{"to no host", "nohost:1", w.ctx},
		{"to junk", "junk", w.ctx},
		{"cancelled before", "β:1", cancelled},
	} {
		if _, err := a.Dial(x.ctx, x.addr); err == nil {
			w.Fatalf("Dial %s succeeds", x.name)
		}
		w.wantFree(a, 1, "after a Dial "+x.name)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	d := startDial(ctx, a, "β:1")
	w.settle()
	d.waits(w, "before it is cancelled")
	w.wantFree(a, 2, "while a Dial waits")
	cancel()
	d.fails(w, opError{"dial", "α:1", "β:1", context.Canceled})
	w.wantFree(a, 1, "after a Dial cancelled while it waited")
	w.wantFree(b, 2, "after a Dial cancelled while it waited")
}

func testHighPorts(w *world) {
	a, b := w.pair()
	const most = 8 << 20 // bytes; a table of all ports up to the first of these takes fifty times as much
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	high := w.listen(b, ":50000000")
	top := w.listen(b, ":2147483647")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		w.Errorf("listening at two high ports allocates %d bytes", n)
	}
	w.wantFree(b, 1, "with high ports taken")
	c, d := w.connect(a, high)
	w.wantAddrs(c, "α:1", "β:1")
	w.wantAddrs(d, "β:1", "α:1")
	w.connect(a, top)
	_, err := b.Listen(w.ctx, ":2147483647")
	w.wantError("Listen at a port taken", err, opError{"listen", "", "β:2147483647", virtnet.ErrAddrAlreadyUsed})
}

func testSelf(w *world) {
	a, b := w.pair()
	w.listen(b, ":3") // the other's: nobody who means α gets there
	l := w.listen(a, ":3")
	if got := l.Addr().String(); got != "α:3" {
		w.Errorf("Listen(\":3\").Addr() = %s, want α:3", got)
	}
	for _, addr := range []string{":3", "α:3"} {
		dial := startDial(w.ctx, a, addr)
		d := startAccept(w.ctx, l).succeeds(w)
		c := dial.succeeds(w)
		w.wantAddrs(c, "α:1", "α:2")
		w.wantAddrs(d, "α:2", "α:1")
		wantPing(w, c, d)
		_ = c.Close()
		_ = d.Close()
	}
}
