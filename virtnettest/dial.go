package virtnettest

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/virtnet/virtnet"
)

var dialClauses = []clause{{
	name: "DialErrors",
	why:  "a Dial that nobody can answer fails with ErrConnRefused or ErrNoHost, and its error shows who dialled whom. An engine that refuses in another way, such as the carrier's, has to say so with these",
	run:  testDialErrors,
}, {
	name: "DialBadAddr",
	why:  "Dial takes its port before it parses the address, so that the error shows who dialled",
	run:  testDialBadAddr,
}, {
	name: "DialReturnsOnceAccepted",
	why:  "Dial returns once an Accept has taken the connection, and not before: who has dialled knows that somebody is there",
	run:  testDialWaits,
}, {
	name: "DialManyWays",
	why:  "Accept may come first or Dial may, and many at once: each connection has two ends that belong together",
	run:  testDialMany,
}, {
	name: "DialCancelled",
	why:  "a Dial whose context is already done never succeeds, however ready the other side is",
	run:  testDialCancelled,
}, {
	name: "DialOnClosedHost",
	why:  "a Dial on a closed host never succeeds, however ready the other side is",
	run:  testDialClosedHost,
}, {
	name: "DialRegistryError",
	why:  "the error for an unknown host tells which registry was asked, by a *virtnet.RegistryError: what Query returns has to be one",
	run:  testDialRegistryError,
}}

func testDialErrors(w *world) {
	a, b := w.pair()
	w.listen(a, ":10")
	closed := w.listen(b, ":4")
	_ = closed.Close()
	w.listen(b, ":5")
	for _, x := range []struct {
		addr, shown string
		cause       error
	}{
		{"α:0", "α:0", virtnet.ErrConnRefused},
		{":0", "α:0", virtnet.ErrConnRefused},
		{"β:0", "β:0", virtnet.ErrConnRefused},
		{"β:3", "β:3", virtnet.ErrConnRefused},
		{"β:4", "β:4", virtnet.ErrConnRefused},
		{"β:2147483647", "β:2147483647", virtnet.ErrConnRefused},
		{"α:1", "α:1", virtnet.ErrConnRefused}, // the port that this Dial itself has taken
		{"nohost:1", "nohost:1", virtnet.ErrNoHost},
		{"nohost:0", "nohost:0", virtnet.ErrNoHost},
		{"a/b:1", "a/b:1", virtnet.ErrNoHost},
	} {
		_, err := a.Dial(w.ctx, x.addr)
		if !w.wantError("Dial("+x.addr+")", err, opError{"dial", "α:1", x.shown, x.cause}) {
			continue
		}
		want := "dial " + w.network() + " α:1->" + x.shown + ": " + x.cause.Error()
		if x.cause == virtnet.ErrConnRefused && err.Error() != want {
			w.Errorf("Dial(%q): error %q, want %q", x.addr, err, want)
		}
	}
	// A connection's port is nobody's to dial.
	c, d := w.connect(a, w.listen(b, ":6"))
	for _, addr := range []string{d.LocalAddr().String(), c.LocalAddr().String()} {
		_, err := a.Dial(w.ctx, addr)
		w.wantError("Dial of a connection's port", err, opError{"dial", "α:2", addr, virtnet.ErrConnRefused})
	}
}

func testDialBadAddr(w *world) {
	a := w.host(0, "α")
	w.listen(a, ":1")
	for _, x := range append(badAddrs, struct{ addr, says string }{"", "missing port in address"}) {
		_, err := a.Dial(w.ctx, x.addr)
		w.wantAddrError("Dial", "dial "+w.network()+" α:2: ", x.addr, x.says, err)
	}
}

func testDialWaits(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	dial := startDial(w.ctx, a, "β:1")
	w.settle()
	dial.waits(w, "before anybody accepts")
	accepted := startAccept(w.ctx, l).succeeds(w)
	wantPing(w, dial.succeeds(w), accepted)

	accept := startAccept(w.ctx, l)
	w.settle()
	accept.waits(w, "before anybody dials")
	dialled := startDial(w.ctx, a, "β:1").succeeds(w)
	wantPing(w, dialled, accept.succeeds(w))
}

func testDialMany(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	n := min(w.backlog(), 50)
	var dials, accepts []*call[net.Conn]
	for i := range n {
		if i%3 != 0 {
			accepts = append(accepts, startAccept(w.ctx, l))
		}
		dials = append(dials, startDial(w.ctx, a, "β:1"))
	}
	for len(accepts) < n {
		accepts = append(accepts, startAccept(w.ctx, l))
	}
	byAddr := make(map[string]net.Conn)
	for _, c := range accepts {
		conn := c.succeeds(w)
		byAddr[conn.LocalAddr().String()] = conn
	}
	for _, c := range dials {
		dialled := c.succeeds(w)
		accepted := byAddr[dialled.RemoteAddr().String()]
		if accepted == nil || accepted.RemoteAddr().String() != dialled.LocalAddr().String() {
			w.Fatalf("nobody accepted %s->%s", dialled.LocalAddr(), dialled.RemoteAddr())
		}
		delete(byAddr, dialled.RemoteAddr().String())
		wantPing(w, dialled, accepted)
	}
}

func testDialCancelled(w *world) {
	a, b := w.pair()
	accept := startAccept(w.ctx, w.listen(b, ":1"))
	cancelled, cancel := context.WithCancel(w.ctx)
	cancel()
	for i := range 500 {
		if c, err := a.Dial(cancelled, "β:1"); c != nil || !errors.Is(err, context.Canceled) {
			w.Fatalf("Dial %d under a cancelled context: %v, %v", i, c, err)
		}
	}
	w.settle()
	accept.waits(w, "after 500 Dials under a cancelled context")
}

func testDialClosedHost(w *world) {
	b := w.host(1, "β")
	accept := startAccept(w.ctx, w.listen(b, ":1"))
	for i := range 500 {
		h := w.host(0, "α")
		if err := h.Close(); err != nil {
			w.Fatal(err)
		}
		if c, err := h.Dial(w.ctx, "β:1"); c != nil || !errors.Is(err, virtnet.ErrHostDown) {
			w.Fatalf("Dial %d on a closed host: %v, %v", i, c, err)
		}
	}
	w.settle()
	accept.waits(w, "after 500 Dials on a closed host")
}

func testDialRegistryError(w *world) {
	a := w.host(0, "α")
	_, err := a.Dial(w.ctx, "nohost:1")
	var re *virtnet.RegistryError
	if !errors.As(err, &re) {
		w.Fatalf("Dial of an unknown host: %v, want a *virtnet.RegistryError in it", err)
	}
	if re.Op != "query" || re.Registry == "" || !strings.Contains(re.Error(), "nohost") {
		w.Errorf("registry %q, operation %q, text %q: want the registry's name, \"query\", and the host", re.Registry, re.Op, re)
	}
}
