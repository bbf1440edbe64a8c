package cli

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestParseLocal(t *testing.T) {
	for _, test := range []struct {
		arg  string
		want string // as it prints; "" if it is wrong
		err  string // what the error has
	}{
		{"8080", "127.0.0.1:8080", ""},
		{":8080", "127.0.0.1:8080", ""},
		{"0", "127.0.0.1:0", ""},
		{"localhost:80", "localhost:80", ""},
		{"0.0.0.0:80", "0.0.0.0:80", ""},
		{"[::1]:80", "[::1]:80", ""},
		{"[::]:65535", "[::]:65535", ""},
		{"unix:/a/b", "unix:/a/b", ""},
		{"unix:relative", "unix:relative", ""},
		{"", "", `address "": invalid port`},
		{"unix:", "", "the path is missing"},
		{"localhost", "", "invalid port"},
		{"localhost:", "", "invalid port"},
		{":65536", "", "invalid port"},
		{":-1", "", "invalid port"},
		{":http", "", "invalid port"},
		{"::1:80", "", `address "::1:80": too many colons in address: it is :port, on the loopback interface, host:port, or unix:/path, with ports up to 65535`},
		{"/a/b", "", "invalid port"},
	} {
		a, err := parseLocal(test.arg)
		usage := (*usageError)(nil)
		switch {
		case test.err == "" && (err != nil || a.String() != test.want):
			t.Errorf("%q: got %v, %v; want %s", test.arg, a, err, test.want)
		case test.err != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%q: got %v, %v; want the usage error %q", test.arg, a, err, test.err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for arg, want := range map[string]string{":0": "nobody ever listens at port 0", "x": "invalid port"} {
		if _, err := parseTarget(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", arg, err, want)
		}
	}
	if a, err := parseTarget(":1"); err != nil || a.String() != "127.0.0.1:1" {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestListenLocal(t *testing.T) {
	l := must[net.Listener](t)(localAddr{network: "tcp", port: "0"}.listen(t.Context()))
	defer l.Close()
	if isOpen(l.Addr()) {
		t.Errorf("%v is open", l.Addr())
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_, err := localAddr{network: "tcp", port: port}.listen(t.Context())
	if want := "address already in use: choose another port, or 0 for one that is free"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second listener: %v, want %q", err, want)
	}
}

func TestIsOpen(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, false},
		{&net.TCPAddr{IP: net.IPv6loopback}, false},
		{&net.TCPAddr{IP: net.IPv4zero}, true},
		{&net.TCPAddr{IP: net.IPv6unspecified}, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, true},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, false},
	} {
		if got := isOpen(test.addr); got != test.want {
			t.Errorf("%v: got %v, want %v", test.addr, got, test.want)
		}
	}
}

func TestAddrText(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"unix:/s":     &net.UnixAddr{Name: "/s", Net: "unix"},
		"unix":        &net.UnixAddr{Name: "@", Net: "unix"},
		"127.0.0.1:5": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5},
	} {
		if got := addrText(addr); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
