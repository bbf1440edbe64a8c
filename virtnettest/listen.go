package virtnettest

import (
	"errors"
	"net"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

var listenClauses = []clause{{
	name: "ListenErrors",
	why:  "Listen fails with ErrAddrAlreadyUsed at a port taken, by a listener or a connection, with ErrAddrNoListen at another host's name, and with what ParseAddr says of an address it cannot read",
	run:  testListenErrors,
}, {
	name: "ListenerAddr",
	why:  "a listener knows its address, also once it is closed",
	run:  testListenerAddr,
}, {
	name: "ListenerAsNet",
	why:  "a listener bound to a context is a net.Listener: Accept returns connections, and net.ErrClosed after Close, by which servers such as net/http's know that they are to end",
	run:  testAsNetListener,
}}

func testListenErrors(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	w.connect(a, l) // α:1, β:2
	for _, x := range []struct {
		host  *virtnet.Host
		laddr string
		addr  string
		cause error
	}{
		{b, ":1", "β:1", virtnet.ErrAddrAlreadyUsed},
		{b, "β:1", "β:1", virtnet.ErrAddrAlreadyUsed},
		{b, "0.0.0.0:1", "β:1", virtnet.ErrAddrAlreadyUsed},
		{b, "[::]:1", "β:1", virtnet.ErrAddrAlreadyUsed},
		{b, ":2", "β:2", virtnet.ErrAddrAlreadyUsed}, // an accepted connection's
		{a, ":1", "α:1", virtnet.ErrAddrAlreadyUsed}, // a dialled connection's
		{a, "β:5", "β:5", virtnet.ErrAddrNoListen},
		{a, "nohost:5", "nohost:5", virtnet.ErrAddrNoListen},
		{a, "β:0", "β:0", virtnet.ErrAddrNoListen},
	} {
		_, err := x.host.Listen(w.ctx, x.laddr)
		w.wantError("Listen("+x.laddr+")", err, opError{"listen", "", x.addr, x.cause})
	}
	for _, x := range badAddrs {
		_, err := a.Listen(w.ctx, x.addr)
		w.wantAddrError("Listen", "listen "+w.network()+": ", x.addr, x.says, err)
	}
	w.wantFree(a, 2, "after Listens that failed")
	w.wantFree(b, 3, "after Listens that failed")
}

// badAddrs are addresses that don't parse, and what the *net.AddrError says of each.
var badAddrs = []struct{ addr, says string }{
	{"junk", "missing port in address"},
	{"α", "missing port in address"},
	{"α:1:2", "too many colons in address"},
	{"α:", "invalid port"},
	{"α:http", "invalid port"},
	{"α:-1", "invalid port"},
	{"α:+1", "invalid port"},
	{"α:1.5", "invalid port"},
	{"α:2147483648", "invalid port"},
	{"α:99999999999999999999", "invalid port"},
}

// wantAddrError checks the error for an address that doesn't parse.
func (w *world) wantAddrError(op, prefix, addr, says string, err error) {
	w.Helper()
	oe, ok := err.(*net.OpError)
	var ae *net.AddrError
	switch {
	case !ok || !errors.As(err, &ae):
		w.Errorf("%s(%q): error %q (a %T), want a *net.OpError with a *net.AddrError", op, addr, errText(err), err)
	case ae.Err != says || ae.Addr != addr:
		w.Errorf("%s(%q): %q, want it to say %q of that address", op, addr, ae, says)
	case oe.Addr != nil:
		w.Errorf("%s(%q): Addr of the error is %v, want none", op, addr, oe.Addr)
	case err.Error() != prefix+ae.Error():
		w.Errorf("%s(%q): error %q, want %q", op, addr, err, prefix+ae.Error())
	}
	if _, err2 := virtnet.ParseAddr(w.network(), addr); ae != nil && errText(err2) != ae.Error() {
		w.Errorf("%s(%q) says %q, ParseAddr %q", op, addr, ae, errText(err2))
	}
}

func testListenerAddr(w *world) {
	a := w.host(0, "α")
	l := w.listen(a, ":4")
	for _, when := range []string{"", " after Close"} {
		addr, ok := l.Addr().(*virtnet.Addr)
		if want := (virtnet.Addr{Net: w.network(), Host: "α", Port: 4}); !ok || *addr != want {
			w.Errorf("Listener.Addr%s = %#v, want %#v", when, l.Addr(), want)
		}
		_ = l.Close()
	}
}

func testAsNetListener(w *world) {
	a, b := w.pair()
	l := xnet.BindCtxL(w.listen(b, ":1"), w.ctx)
	accept := start("Accept", l.Accept)
	dial := startDial(w.ctx, a, "β:1")
	wantPing(w, accept.succeeds(w), dial.succeeds(w))
	accept = start("Accept", l.Accept)
	w.settle()
	_ = l.Close()
	if _, err := accept.wait(w); !errors.Is(err, net.ErrClosed) {
		w.Errorf("Accept when the listener is closed: %v, want net.ErrClosed", err)
	}
}
