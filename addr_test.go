package virtnet_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/virtnet/virtnet"
)

func TestParseAddr(t *testing.T) {
	for _, x := range []struct {
		in   string
		host string
		port int
		out  string // "" means the same as in
		err  string
	}{
		{in: "α:1", host: "α", port: 1},
		{in: ":0"},
		{in: "α:2147483647", host: "α", port: 1<<31 - 1},
		{in: "α:007", host: "α", port: 7, out: "α:7"},
		{in: "[a:b]:1", host: "a:b", port: 1},
		{in: "[α]:1", host: "α", port: 1, out: "α:1"},
		{in: "not a valid name/:1", host: "not a valid name/", port: 1}, // it is nobody's
		{in: "α:2147483648", err: "invalid port"},
		{in: "α:99999999999999999999", err: "invalid port"},
		{in: "α:-1", err: "invalid port"},
		{in: "α:+1", err: "invalid port"},
		{in: "α:", err: "invalid port"},
		{in: "α:http", err: "invalid port"},
		{in: "α:0x10", err: "invalid port"},
		{in: "α:1_0", err: "invalid port"},
		{in: "α: 1", err: "invalid port"},
		{in: "α:١", err: "invalid port"}, // a digit, but not ours
		{in: "", err: "missing port in address"},
		{in: "α", err: "missing port in address"},
		{in: "a:b:1", err: "too many colons in address"},
		{in: "[α:1", err: "missing ']' in address"},
	} {
		a, err := virtnet.ParseAddr("pipeα", x.in)
		if x.err != "" {
			var ae *net.AddrError
			if !errors.As(err, &ae) || ae.Err != x.err || ae.Addr != x.in || a != nil {
				t.Errorf("ParseAddr(%q) = %v, %v, want a *net.AddrError with %q", x.in, a, err, x.err)
			}
			continue
		}
		if want := (virtnet.Addr{Net: "pipeα", Host: x.host, Port: x.port}); err != nil || *a != want {
			t.Errorf("ParseAddr(%q) = %v, %v, want %v", x.in, a, err, want)
			continue
		}
		out := x.in
		if x.out != "" {
			out = x.out
		}
		if a.String() != out || a.Network() != "pipeα" {
			t.Errorf("ParseAddr(%q) prints as %q on %q, want %q on %q", x.in, a, a.Network(), out, "pipeα")
		}
	}
}

// What parses prints as something that parses as the same.
func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"α:1", ":0", "[a:b]:007", "[::1%lo]:80", "a:b:c", "α:2147483648", "]:1", "[]:1", "a:-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := virtnet.ParseAddr("n", s)
		if err != nil {
			var ae *net.AddrError
			if !errors.As(err, &ae) || a != nil {
				t.Errorf("ParseAddr(%q) = %v, %v, want a *net.AddrError", s, a, err)
			}
			return
		}
		if a.Port < 0 || a.Port > 1<<31-1 || !strings.Contains(s, a.Host) {
			t.Errorf("ParseAddr(%q) = %#v", s, a)
		}
		again, err := virtnet.ParseAddr("n", a.String())
		if err != nil || *again != *a {
			t.Errorf("ParseAddr(%q) prints as %q, which is %v, %v", s, a, again, err)
		}
	})
}
