package xhttp

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/xnet"
)

func TestHostForms(t *testing.T) {
	noHost := errNoHost{}
	for _, tt := range []struct {
		name   string
		hosts  []string // that accept
		refuse []string // that are there, but refuse
		noHost error    // how the network says that one is not there
		addr   string
		want   []string // what is dialled
		err    string   // part of the error; "" is success
	}{
		{name: "decoded", hosts: []string{"α:80"}, noHost: noHost, addr: "xn--mxa:80", want: []string{"xn--mxa:80", "α:80"}},
		{name: "dns", hosts: []string{"α:80"}, noHost: &net.DNSError{Err: "no such host", IsNotFound: true},
			addr: "xn--mxa:80", want: []string{"xn--mxa:80", "α:80"}},
		{name: "literal wins", hosts: []string{"xn--mxa:80", "α:80"}, noHost: noHost, addr: "xn--mxa:80", want: []string{"xn--mxa:80"}},
		{name: "labels", hosts: []string{"a.α.b.β:80"}, noHost: noHost, addr: "a.xn--mxa.b.xn--nxa:80",
			want: []string{"a.xn--mxa.b.xn--nxa:80", "a.α.b.β:80"}},
		{name: "plain", hosts: []string{"a:80"}, noHost: noHost, addr: "a:80", want: []string{"a:80"}},
		{name: "unicode", hosts: []string{"α:80"}, noHost: noHost, addr: "α:80", want: []string{"α:80"}},
		{name: "neither", noHost: noHost, addr: "xn--mxa:80", want: []string{"xn--mxa:80", "α:80"}, err: "α:80: no such host"},
		{name: "plain is not there", noHost: noHost, addr: "a:80", want: []string{"a:80"}, err: "a:80: no such host"},
		{name: "no encoding", noHost: noHost, addr: "xn--!:80", want: []string{"xn--!:80"}, err: "xn--!:80: no such host"},
		{name: "literal refuses", hosts: []string{"α:80"}, refuse: []string{"xn--mxa:80"}, noHost: noHost, addr: "xn--mxa:80",
			want: []string{"xn--mxa:80"}, err: "refused"},
		{name: "decoded refuses", refuse: []string{"α:80"}, noHost: noHost, addr: "xn--mxa:80",
			want: []string{"xn--mxa:80", "α:80"}, err: "refused"},
		{name: "other error", hosts: []string{"α:80"}, noHost: &net.DNSError{Err: "timeout", IsTimeout: true},
			addr: "xn--mxa:80", want: []string{"xn--mxa:80"}, err: "timeout"},
		{name: "no port", hosts: []string{"α"}, noHost: noHost, addr: "xn--mxa", want: []string{"xn--mxa"}, err: "no such host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newFakeNet(t)
			n.noHost = tt.noHost
			for _, addr := range tt.hosts {
				if _, err := n.Listen(bounded(t), addr); err != nil {
					t.Fatal(err)
				}
			}
			for _, addr := range tt.refuse {
				n.hosts[addr] = ""
			}
			conn, err := xnet.DialContext(n)(bounded(t), "tcp", tt.addr)
			switch {
			case err == nil:
				conn.Close()
				if tt.err != "" {
					t.Errorf("succeeded, want error %q", tt.err)
				}
			case tt.err == "" || !strings.Contains(err.Error(), tt.err):
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if !slices.Equal(n.dialed, tt.want) {
				t.Errorf("dialled %q, want %q", n.dialed, tt.want)
			}
		})
	}
}

func TestHostFormsNetwork(t *testing.T) {
	n := newFakeNet(t)
	_, err := xnet.DialContext(n)(t.Context(), "udp", "xn--mxa:80")
	if want := net.UnknownNetworkError("udp"); !errors.Is(err, want) || len(n.dialed) != 0 {
		t.Errorf("got error %v after dialling %q, want %v", err, n.dialed, want)
	}
}

var _ xnet.Networker = (*fakeNet)(nil)
