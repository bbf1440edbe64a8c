package virtnettest

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/virtnet/virtnet"
)

var nameClauses = []clause{{
	name: "NameValid",
	why:  "every valid name can be used: it is dialled, and both ends show it as it was given",
	run:  testValidNames,
}, {
	name: "NameInvalid",
	why:  "NewHost refuses an invalid name, and the error says which rule it breaks; nothing is announced",
	run:  testInvalidNames,
}, {
	name: "NameDup",
	why:  "a name is unique in the whole network as long as its host is up: NewHost fails with ErrHostDup, and the host that has the name goes on",
	run:  testDupNames,
}, {
	name: "NameFreeAfterHostClose",
	why:  "once Host.Close has returned, NewHost gives the name again: on the same sub-network at once, on others as soon as the registry has withdrawn it, for which Close does not wait; SubNetwork.Host is nil until then",
	run:  testNameReuse,
}, {
	name: "NameFreeAfterNetClose",
	why:  "once SubNetwork.Close has returned, another sub-network can have the names of its hosts",
	run:  testNameAfterNetClose,
}, {
	name: "HostLookup",
	why:  "SubNetwork.Host is the host that NewHost made on this sub-network, and nil for hosts of other sub-networks and unknown ones",
	run:  testHostLookup,
}, {
	name: "Lookup",
	why:  "Host.LookupHost has virtnet.HostIP of every host of the network, LookupAddr the name, and the address can be dialled and listened at in place of the name, by hosts of other sub-networks too; what nobody has is not found. The core does it by the registry's Query",
	run:  testLookup,
}}

func testValidNames(w *world) {
	a := w.host(0, "α")
	for _, name := range []string{
		"β", "b", "B", "a.b", "xn--nxa", "under_score", "ho st", "日本", `qu"ote`, "127.0.0.1", "...", "~", "-", "localhost",
		strings.Repeat("n", 253), strings.Repeat("ν", 126),
	} {
		h := w.host(1, name)
		l := w.listen(h, ":1")
		if got, want := l.Addr().String(), name+":1"; got != want {
			w.Errorf("host %.40q: listener's Addr is %q, want %q", name, got, want)
		}
		c, d := w.connect(a, l)
		w.wantAddrs(c, "α:1", name+":2")
		w.wantAddrs(d, name+":2", "α:1")
		_ = c.Close()
		_ = d.Close()
		_ = h.Close()
	}
}

func testInvalidNames(w *world) {
	for _, x := range []struct{ name, says string }{
		{"", "empty"},
		{".", "directory"},
		{"..", "directory"},
		{"a\xff", "UTF-8"},
		{"a/b", "/"},
		{`a\b`, `\`},
		{"a:b", ":"},
		{"a[b", "["},
		{"a]b", "]"},
		{"a%b", "%"},
		{"a\nb", "control"},
		{"a\x00b", "control"},
		{"a\u0085b", "control"},
		{strings.Repeat("n", 254), "254"},
		{strings.Repeat("\u200b", 43), "260"}, // one rune takes six bytes when quoted
	} {
		h, err := w.subs[0].NewHost(w.ctx, x.name)
		switch {
		case err == nil:
			w.Errorf("NewHost(%.40q) succeeds", x.name)
			_ = h.Close()
		case x.says == "254" || x.says == "260":
			if !strings.Contains(err.Error(), "255") {
				w.Errorf("NewHost of a long name: error %q does not say how long it may be", err)
			}
		case !strings.Contains(err.Error(), x.says):
			w.Errorf("NewHost(%q): error %q does not say %q", x.name, err, x.says)
		}
		if w.subs[0].Host(x.name) != nil {
			w.Errorf("SubNetwork.Host(%.40q) is not nil", x.name)
		}
	}
}

func testDupNames(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	for i, sub := range w.subs {
		for _, name := range []string{"α", "β"} {
			h, err := sub.NewHost(w.ctx, name)
			if h != nil {
				w.Errorf("sub-network %d: second NewHost(%q) returns a host", i, name)
			}
			if !errors.Is(err, virtnet.ErrHostDup) {
				w.Errorf("sub-network %d: second NewHost(%q): error %v, want ErrHostDup", i, name, err)
			}
			if text := errText(err); !strings.HasSuffix(text, virtnet.ErrHostDup.Error()) || !strings.Contains(text, name) {
				w.Errorf("second NewHost(%q): error %q has to name the host and end with the cause", name, text)
			}
		}
	}
	w.connect(a, l)
}

func testNameReuse(w *world) {
	b := w.host(1, "β")
	for i := range 20 {
		sub := w.subs[i%len(w.subs)]
		a := w.hostAgain(i, "α")
		if i%3 == 0 {
			must(w, a.Close())
			a = w.host(i, "α") // the same sub-network: no waiting
		}
		l := w.listen(a, ":1")
		c, d := w.connect(b, l)
		if err := a.Close(); err != nil {
			w.Fatalf("Host.Close: %v", err)
		}
		if sub.Host("α") != nil {
			w.Error("SubNetwork.Host of a closed host is not nil")
		}
		_ = c.Close()
		_ = d.Close()
	}
}

// hostAgain makes a host whose name was another's before, perhaps on another sub-network that now withdraws it.
func (w *world) hostAgain(sub int, name string) *virtnet.Host {
	w.Helper()
	for end := time.Now().Add(patience); ; w.pause() {
		h, err := w.subs[sub%len(w.subs)].NewHost(w.ctx, name)
		switch {
		case err == nil:
			w.Cleanup(func() { _ = h.Close() })
			return h
		case !errors.Is(err, virtnet.ErrHostDup) || time.Now().After(end):
			w.Fatalf("NewHost after Host.Close: %v", err)
		}
	}
}

func testNameAfterNetClose(w *world) {
	if len(w.subs) < 2 {
		w.Skip("one sub-network only")
	}
	a, _ := w.pair()
	if err := w.subs[1].Close(); err != nil {
		w.Fatalf("SubNetwork.Close: %v", err)
	}
	b := w.host(0, "β")
	w.connect(a, w.listen(b, ":1"))
}

func testHostLookup(w *world) {
	a, b := w.pair()
	for i, sub := range w.subs {
		for j, h := range []*virtnet.Host{a, b} {
			want := h
			if j%len(w.subs) != i {
				want = nil
			}
			if got := sub.Host(h.Name()); got != want {
				w.Errorf("sub-network %d: Host(%q) = %p, want %p", i, h.Name(), got, want)
			}
		}
		if sub.Host("nohost") != nil {
			w.Errorf("sub-network %d: Host of an unknown host is not nil", i)
		}
	}
	if a.Name() != "α" || a.Network() != w.network() || b.Network() != w.network() {
		w.Errorf("host %q on %q and %q on %q, want α and β on %q", a.Name(), a.Network(), b.Name(), b.Network(), w.network())
	}
}

func testLookup(w *world) {
	a := w.host(0, "α")
	for _, name := range []string{"β", "two words", "B", "exactly-14-oct", strings.Repeat("n", 253), "α -and-more-than-fits"} {
		b := w.host(1, name)
		ip := virtnet.HostIP(name)
		if got, err := a.LookupHost(w.ctx, name); err != nil || !slices.Equal(got, []string{ip.String()}) {
			w.Errorf("LookupHost(%.40q) = %v, %v, want %s", name, got, err, ip)
		}
		if got, err := a.LookupNetIP(w.ctx, "ip", name); err != nil || !slices.Equal(got, []netip.Addr{ip}) {
			w.Errorf("LookupNetIP(%.40q) = %v, %v, want %s", name, got, err, ip)
		}
		if got, err := a.LookupAddr(w.ctx, ip.String()); err != nil || !slices.Equal(got, []string{name}) {
			w.Errorf("LookupAddr of %.40q = %.40q, %v, want the name", name, got, err)
		}
		literal := netip.AddrPortFrom(ip, 7).String()
		l := w.listen(b, literal)
		if got, want := l.Addr().String(), name+":7"; got != want {
			w.Errorf("a listener at %s has the Addr %.40q, want %.40q", literal, got, want)
		}
		accept := startAccept(w.ctx, l)
		c := startDial(w.ctx, a, literal).succeeds(w)
		d := accept.succeeds(w)
		w.wantAddrs(c, "α:1", name+":1")
		w.wantAddrs(d, name+":1", "α:1")
		_ = c.Close()
		_ = d.Close()
		_ = b.Close()
	}
	wantLookupNothing(w, a)
}

func wantLookupNothing(w *world, a *virtnet.Host) {
	for _, lookup := range []func() error{
		func() error { _, err := a.LookupHost(w.ctx, "nohost"); return err },
		func() error { _, err := a.LookupNetIP(w.ctx, "ip4", "α"); return err },
		func() error { _, err := a.LookupAddr(w.ctx, virtnet.HostIP("nohost").String()); return err },
	} {
		err := lookup()
		if dnsErr, ok := err.(*net.DNSError); !ok || !dnsErr.IsNotFound || !errors.Is(err, virtnet.ErrNoHost) {
			w.Errorf("lookup of what nobody has: error %v (a %T), want a *net.DNSError that is ErrNoHost and IsNotFound", err, err)
		}
	}
}
