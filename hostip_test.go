package virtnet

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/internal/hostname"
)

func TestHostIP(t *testing.T) {
	for _, x := range []struct{ name, ip string }{
		{"α", "fd76:ceb1::"},
		{"a", "fd76:6100::"},
		{"A", "fd76:4100::"},
		{"a b", "fd76:6120:6200::"},
		{"...", "fd76:2e2e:2e00::"},
		{"127.0.0.1", "fd76:3132:372e:302e:302e:3100::"},
		{"exactly-14-oct", "fd76:6578:6163:746c:792d:3134:2d6f:6374"},
		{"fifteen-letters", "fd77:3a91:e835:a99d:3668:79ab:71fc:d6be"},
		{"", ""},
		{".", ""},
		{"a/b", ""},
		{"a\x00", ""},
		{"\xff", ""},
		{strings.Repeat("n", 254), ""},
	} {
		var want netip.Addr
		if x.ip != "" {
			want = netip.MustParseAddr(x.ip)
		}
		got := HostIP(x.name)
		if got != want {
			t.Errorf("HostIP(%.40q) = %s, want %s", x.name, got, want)
		}
		if got.IsValid() && !got.IsPrivate() {
			t.Errorf("HostIP(%.40q) = %s, which is not private", x.name, got)
		}
	}
}

// Every address has a name that has it, or none.
func FuzzNameOf(f *testing.F) {
	for _, name := range []string{"α", "a", "exactly-14-oct", "fifteen-letters", "..", "a/b", "\xff", "a\x00b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := &SubNetwork{}
		n.longNames.use(s)
		if ip := HostIP(s); ip.IsValid() && n.nameOf(ip) != s {
			t.Errorf("HostIP(%q) = %s, which is the address of %q", s, ip, n.nameOf(ip))
		}
		b := [16]byte{0xfd, 0x76}
		copy(b[2:], s)
		ip := netip.AddrFrom16(b)
		if name := n.nameOf(ip); name != "" && (HostIP(name) != ip || hostname.Check(name) != nil) {
			t.Errorf("the name of %s is %q, whose address is %s", ip, name, HostIP(name))
		}
	})
}

// Names in use stay, and there is a bound on them.
func TestLongNamesBound(t *testing.T) {
	var l longNames
	name := func(i int) string { return "a rather long name " + strconv.Itoa(i) }
	l.use("short")
	for i := range 5 * longNamesHalf {
		l.use(name(i))
		if i%1000 == 0 && l.of(hostIP(name(0))) != name(0) {
			t.Fatalf("a name that is asked for is forgotten after %d others", i)
		}
		if n := len(l.recent) + len(l.older); n > 2*longNamesHalf {
			t.Fatalf("there are %d names, want no more than %d", n, 2*longNamesHalf)
		}
	}
	for i := 4*longNamesHalf + 10; i < 5*longNamesHalf; i++ {
		if l.of(hostIP(name(i))) != name(i) {
			t.Fatalf("name %d is forgotten, which is one of the last %d", i, longNamesHalf)
		}
	}
	if got := l.of(hostIP(name(1))); got != "" {
		t.Errorf("%q is remembered, want it forgotten", got)
	}
	if l.of(hostIP("short")) != "" {
		t.Error("a short name is remembered, want only long ones")
	}
}

func TestIsIP(t *testing.T) {
	for host, want := range map[string]bool{
		"fd76:ceb1::": true, "FD76:CEB1::": true, "fd77:1:2:3:4:5:6:7": true, "": false, "α": false, "::1": false, "127.0.0.1": false,
	} {
		if got := isIP(host); got != want {
			t.Errorf("isIP(%q) = %v, want %v", host, got, want)
		}
	}
}

// A dial of a name pays nothing for those who dial addresses.
func TestNamesAllocateNothing(t *testing.T) {
	var l longNames
	long := strings.Repeat("n", 100)
	l.use(long)
	if got := testing.AllocsPerRun(100, func() { _ = isIP("α"); l.use("α"); l.use(long) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
