package virtnettest

import (
	"errors"
	"strings"

	"github.com/virtnet/virtnet"
)

var closeClauses = []clause{{
	name: "CloseListenerOnly",
	why:  "connections outlive the listener that accepted them",
	run:  testCloseListener,
}, {
	name: "CloseConnOnly",
	why:  "closing a connection leaves the others, and the listener, as they are",
	run:  testCloseConn,
}, {
	name: "CloseHostOnly",
	why:  "closing a host leaves the other hosts of its sub-network as they are",
	run:  testCloseHost,
}, {
	name: "CloseWithDataUnderway",
	why:  "what was written before Close is read before EOF",
	run:  testCloseAfterWrite,
}, {
	name: "CloseInterruptsNewHost",
	why:  "NewHost and SubNetwork.Close at the same time both return, and no host stays: an engine ends what it does when its context ends",
	run:  testCloseDuringNewHost,
}, {
	name: "CloseTellsWhyDown",
	why:  "SubNetwork.Close returns the error with which the engine took the network down by VNetDown, once",
	run:  testCloseTellsWhy,
}, {
	name: "AutoClose",
	why:  "after AutoClose a sub-network closes when its last host does, and not before",
	run:  testAutoClose,
}}

func testCloseListener(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	c, d := w.connect(a, l)
	must(w, l.Close())
	w.settle()
	wantPing(w, c, d)
	_, err := a.Dial(w.ctx, "β:1")
	w.wantError("Dial of a closed listener", err, opError{"dial", "α:2", "β:1", virtnet.ErrConnRefused})
	c, d = w.connect(a, w.listen(b, ":1"))
	wantPing(w, c, d)
}

func testCloseConn(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	c1, d1 := w.connect(a, l)
	c2, d2 := w.connect(a, l)
	must(w, c1.Close())
	must(w, d1.Close())
	w.settle()
	wantPing(w, c2, d2)
	c3, d3 := w.connect(a, l)
	w.wantAddrs(c3, "α:1", "β:2")
	wantPing(w, c3, d3)
}

func testCloseHost(w *world) {
	a, b := w.pair()
	g, d := w.host(0, "γ"), w.host(1, "δ")
	lb, ld := w.listen(b, ":1"), w.listen(d, ":1")
	w.connect(a, lb)
	c1, d1 := w.connect(g, ld)
	accept := startAccept(w.ctx, ld)
	must(w, a.Close())
	must(w, b.Close())
	w.settle()
	wantPing(w, c1, d1)
	accept.waits(w, "when other hosts are closed")
	wantPing(w, startDial(w.ctx, g, "δ:1").succeeds(w), accept.succeeds(w))
	_, err := g.Dial(w.ctx, "β:1")
	w.wantError("Dial of a closed host", err, opError{"dial", "γ:3", "β:1", errUnreachable})
}

func testCloseAfterWrite(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	c, d := w.connect(a, l)
	const n = 1 << 20
	sent := start("Write and Close", func() (bool, error) {
		_, err := c.Write(payload(n))
		return true, errors.Join(err, c.Close())
	})
	readAll(w, d, payload(n))
	sent.succeeds(w)
}

func testCloseDuringNewHost(w *world) {
	sub := w.subs[len(w.subs)-1]
	const n = 8
	var calls []*call[*virtnet.Host]
	for i := range n {
		name := string(rune('a' + i))
		calls = append(calls, start("NewHost", func() (*virtnet.Host, error) { return sub.NewHost(w.ctx, name) }))
	}
	if err := sub.Close(); err != nil {
		w.Errorf("SubNetwork.Close: %v", err)
	}
	for i, c := range calls {
		h, err := c.wait(w)
		if err != nil {
			if !errors.Is(err, virtnet.ErrNetDown) {
				w.Errorf("NewHost during SubNetwork.Close: %v, want ErrNetDown", err)
			}
		} else if _, err := h.Listen(w.ctx, ""); !errors.Is(err, virtnet.ErrNetDown) {
			w.Errorf("Listen on a host made during SubNetwork.Close: %v, want ErrNetDown", err)
		}
		if name := string(rune('a' + i)); sub.Host(name) != nil {
			w.Errorf("Host(%q) of a closed sub-network is not nil", name)
		}
	}
}

func testCloseTellsWhy(w *world) {
	if w.net.Down == nil {
		w.Skip("Network.Down is nil")
	}
	w.host(0, "α")
	w.downed = true
	why := errors.New("the cable is cut")
	w.net.Down(w.subs[0], why)
	w.net.Down(w.subs[0], errors.New("nobody is interested"))
	if w.subs[0].Host("α") != nil {
		w.Error("Host on a network that is down is not nil")
	}
	if err := w.subs[0].Close(); !errors.Is(err, why) || strings.Contains(err.Error(), "nobody") {
		w.Errorf("Close after VNetDown: %v, want the first error given to it", err)
	}
	if err := w.subs[0].Close(); err != nil {
		w.Errorf("second Close: %v", err)
	}
}

func testAutoClose(w *world) {
	sub := w.subs[0]
	sub.AutoClose()
	a, b := w.host(0, "α"), w.host(0, "β")
	must(w, a.Close())
	w.settle()
	l := w.listen(b, ":1")
	a = w.host(0, "α")
	w.connect(a, l)
	must(w, b.Close())
	must(w, a.Close())
	if h, err := sub.NewHost(w.ctx, "γ"); !errors.Is(err, virtnet.ErrNetDown) {
		w.Errorf("NewHost after the last host is closed: %v, %v, want ErrNetDown", h, err)
	}
	if len(w.subs) > 1 { // the others stay, and have the names
		w.host(1, "α")
	}
}
