package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// longHost is a name that is too long to be in an address.
var longHost = strings.Repeat("long-", 10) + "α"

func TestLookup(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	names := []string{"α", "B", "two words", "...", "127.0.0.2", longHost, "xn--nxa", "β", "exactly-14-oct"}
	for _, name := range names {
		f.host(name)
	}
	h := f.host("γ")
	for _, name := range names {
		if name == "127.0.0.2" {
			continue // is an address itself
		}
		ip := virtnet.HostIP(name)
		if got, err := h.LookupHost(t.Context(), name); err != nil || len(got) != 1 || got[0] != ip.String() {
			t.Errorf("LookupHost(%q) = %v, %v, want %s", name, got, err, ip)
		}
		for _, network := range []string{"ip", "ip6"} {
			if got, err := h.LookupNetIP(t.Context(), network, name); err != nil || len(got) != 1 || got[0] != ip {
				t.Errorf("LookupNetIP(%s, %q) = %v, %v, want %s", network, name, got, err, ip)
			}
		}
		if got, err := h.LookupNetIP(t.Context(), "ip4", name); got != nil || !notFound(err) {
			t.Errorf("LookupNetIP(ip4, %q) = %v, %v, want it not found", name, got, err)
		}
	}
	for _, name := range names {
		ip := virtnet.HostIP(name)
		if got, err := h.LookupAddr(t.Context(), ip.String()); err != nil || len(got) != 1 || got[0] != name {
			t.Errorf("LookupAddr(%s) = %q, %v, want %q", ip, got, err, name)
		}
	}
}

// notFound tells whether err says so as package net does, and as we do.
func notFound(err error) bool {
	dnsErr, ok := err.(*net.DNSError)
	return ok && dnsErr.IsNotFound && !dnsErr.IsTimeout && errors.Is(err, virtnet.ErrNoHost)
}

func TestLookupNotFound(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	f.host("b")
	h := f.host("α")
	for _, name := range []string{"β", "", "B", "b.", "a/b", "a\xffb", "fd76:", "xn--mxa.", "xn--"} {
		_, err := h.LookupHost(t.Context(), name)
		if want := "lookup " + name + " on fake: no such host"; !notFound(err) || err.Error() != want {
			t.Errorf("LookupHost(%q): error %v (a %T), want %q", name, err, err, want)
		}
	}
	for _, addr := range []string{
		virtnet.HostIP("β").String(), virtnet.HostIP(longHost).String(), "fd76::", "fd76:2f00::", "fd76:61:6200::", "fd77::",
		virtnet.HostIP("b").String() + "%1", "::1", "127.0.0.1", "fe80::1", "::ffff:1.2.3.4",
	} {
		_, err := h.LookupAddr(t.Context(), addr)
		if want := "lookup " + addr + " on fake: no such host"; !notFound(err) || err.Error() != want {
			t.Errorf("LookupAddr(%q): error %v (a %T), want %q", addr, err, err, want)
		}
	}
	_, err := h.LookupAddr(t.Context(), "b")
	if want := "lookup b: unrecognized address"; err == nil || err.Error() != want {
		t.Errorf("LookupAddr of a name: error %v, want %q", err, want)
	}
}

// An address is its own address, as with package net, though no network has it.
func TestLookupLiteral(t *testing.T) {
	h := newFake(t, virtnet.Config{}).host("α")
	for _, x := range []struct {
		name string
		v4   bool
	}{{"127.0.0.1", true}, {"::1", false}, {"fe80::1%eth0", false}, {"FD76:CEB1::", false}, {"::ffff:1.2.3.4", true}} {
		if got, err := h.LookupHost(t.Context(), x.name); err != nil || len(got) != 1 || got[0] != x.name {
			t.Errorf("LookupHost(%s) = %v, %v, want it as it is", x.name, got, err)
		}
		for network, want := range map[string]bool{"ip": true, "ip4": x.v4, "ip6": !x.v4} {
			got, err := h.LookupNetIP(t.Context(), network, x.name)
			if want && (err != nil || len(got) != 1 || got[0] != netip.MustParseAddr(x.name)) {
				t.Errorf("LookupNetIP(%s, %s) = %v, %v, want it as it is", network, x.name, got, err)
			}
			if addrErr, ok := err.(*net.AddrError); !want && (!ok || addrErr.Err != "no suitable address") {
				t.Errorf("LookupNetIP(%s, %s) = %v, %v, want no suitable address", network, x.name, got, err)
			}
		}
	}
	if _, err := h.LookupNetIP(t.Context(), "tcp", "α"); err != net.UnknownNetworkError("tcp") {
		t.Errorf("LookupNetIP(tcp): error %v, want it an unknown network", err)
	}
}

// The form that DNS has for a name is that name, unless a host has it literally.
func TestLookupPunycode(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	h := f.host("α")
	for _, want := range []string{"α", "xn--mxa"} {
		got, err := h.LookupNetIP(t.Context(), "ip", "xn--mxa")
		if err != nil || got[0] != virtnet.HostIP(want) {
			t.Errorf("LookupNetIP(xn--mxa) = %v, %v, want the address of %s", got, err, want)
		}
		if want == "α" {
			f.host("xn--mxa")
		}
	}
}

func TestLookupErrors(t *testing.T) {
	down := &virtnet.RegistryError{Registry: "fake", Op: "query", Args: "β", Err: virtnet.ErrRegistryDown}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("why"))
	expired, cancel2 := context.WithTimeout(t.Context(), -1)
	defer cancel2()
	for _, x := range []struct {
		name    string
		ctx     context.Context
		prepare func(f *fake, h *virtnet.Host)
		cause   error
		timeout bool
	}{
		{"registry down", t.Context(), func(f *fake, _ *virtnet.Host) {
			f.query = func(context.Context, string) (string, error) { return "", down }
		}, virtnet.ErrRegistryDown, false},
		{"registry times out", t.Context(), func(f *fake, _ *virtnet.Host) {
			f.query = func(context.Context, string) (string, error) { return "", os.ErrDeadlineExceeded }
		}, os.ErrDeadlineExceeded, true},
		{"host down", t.Context(), func(_ *fake, h *virtnet.Host) { h.Close() }, virtnet.ErrHostDown, false},
		{"network down", t.Context(), func(f *fake, _ *virtnet.Host) { f.SubNetwork.Close() }, virtnet.ErrNetDown, false},
		{"cancelled", cancelled, func(*fake, *virtnet.Host) {}, context.Canceled, false},
		{"expired", expired, func(*fake, *virtnet.Host) {}, context.DeadlineExceeded, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t, virtnet.Config{})
			h := f.host("α")
			x.prepare(f, h)
			_, err1 := h.LookupHost(x.ctx, "β")
			_, err2 := h.LookupNetIP(x.ctx, "ip4", "β")
			_, err3 := h.LookupAddr(x.ctx, virtnet.HostIP("β").String())
			for _, err := range []error{err1, err2, err3} {
				dnsErr, ok := err.(*net.DNSError)
				if !ok || !errors.Is(err, x.cause) || dnsErr.IsNotFound || dnsErr.IsTimeout != x.timeout {
					t.Errorf("error %v (%#v), want the cause %v and IsTimeout %v", err, err, x.cause, x.timeout)
				}
			}
		})
	}
}

// A lookup in progress ends with its context, and with its host.
func TestLookupInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		h := f.host("α")
		f.query = func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := h.LookupHost(ctx, "β")
		if dnsErr, ok := err.(*net.DNSError); !ok || !dnsErr.IsTimeout || time.Since(start) != time.Minute {
			t.Errorf("after %v: error %v, want a time-out after a minute", time.Since(start), err)
		}
		time.AfterFunc(time.Second, func() { h.Close() })
		if _, err := h.LookupHost(t.Context(), "β"); !errors.Is(err, virtnet.ErrHostDown) {
			t.Errorf("error %v, want ErrHostDown", err)
		}
	})
}

// An address is as good as the name, and the connection shows names.
func TestDialIP(t *testing.T) {
	for _, name := range []string{"β", "two words", longHost} {
		f := newFake(t, virtnet.Config{})
		a := f.host("α")
		_, l := f.listen(name)
		literal := net.JoinHostPort(virtnet.HostIP(name).String(), "1")
		for _, addr := range []string{literal, strings.ToUpper(literal)} {
			accept := accepting(l)
			c, err := a.Dial(t.Context(), addr)
			if err != nil {
				t.Fatalf("Dial(%s) for %q: %v", addr, name, err)
			}
			d, err := accept.wait(t)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(c.LocalAddr(), c.RemoteAddr(), d.LocalAddr(), d.RemoteAddr()),
				fmt.Sprintf("α:1 %[1]s:2 %[1]s:2 α:1", name); got != want {
				t.Errorf("addresses of the connection: %s, want %s", got, want)
			}
			c.Close()
			d.Close()
		}
		l.Close()
		_, err := a.Dial(t.Context(), literal)
		if want := "dial fake α:1->" + name + ":1: connection refused"; err == nil || err.Error() != want {
			t.Errorf("Dial: error %v, want %q", err, want)
		}
	}
}

func TestDialIPErrors(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	h := f.host("α")
	for _, x := range []struct{ addr, err string }{
		{"[fd76::]:80", "dial fake α:1->[fd76::]:80: address [fd76::]:80: no such host"},
		{"[fd76:2f00::]:80", "dial fake α:1->[fd76:2f00::]:80: address [fd76:2f00::]:80: no such host"},
		{"[fd77::]:80", "dial fake α:1->[fd77::]:80: address [fd77::]:80: no such host"},
		{"[fd76:ceb1::%1]:80", "dial fake α:1->[fd76:ceb1::%1]:80: address [fd76:ceb1::%1]:80: no such host"},
		{"[fd76:ceb2::]:80", `dial fake α:1->β:80: fake registry: query "β": no such host`},
		{"[fd76:zeb2::]:80", `dial fake α:1->[fd76:zeb2::]:80: fake registry: query "fd76:zeb2::": no such host`},
	} {
		_, err := h.Dial(t.Context(), x.addr)
		if err == nil || err.Error() != x.err || !errors.Is(err, virtnet.ErrNoHost) {
			t.Errorf("Dial(%s): error %v, want %s", x.addr, err, x.err)
		}
		if _, ok := err.(*net.OpError); !ok {
			t.Errorf("Dial(%s): error is a %T, want a *net.OpError", x.addr, err)
		}
	}
	h.Close()
	if _, err := h.Dial(t.Context(), "[fd76::]:80"); !errors.Is(err, virtnet.ErrHostDown) {
		t.Errorf("Dial on a closed host: error %v, want ErrHostDown", err)
	}
}

func TestListenIP(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	for _, name := range []string{"α", longHost} {
		h := f.host(name)
		l, err := h.Listen(t.Context(), net.JoinHostPort(virtnet.HostIP(name).String(), "80"))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); got != name+":80" {
			t.Errorf("the listener's address is %s, want %s:80", got, name)
		}
	}
	for addr, want := range map[string]string{
		"[fd76:ceb2::]:81": "listen fake β:81: cannot listen on requested address",
		"[fd77::]:81":      "listen fake [fd77::]:81: cannot listen on requested address",
	} {
		_, err := f.Host("α").Listen(t.Context(), addr)
		if err == nil || err.Error() != want {
			t.Errorf("Listen(%s): error %v, want %s", addr, err, want)
		}
	}
}

// A long name's address is turned back by whoever has used the name, on each sub-network for itself.
func TestDialLongIP(t *testing.T) {
	for _, x := range []struct {
		name string
		use  func(ctx context.Context, h *virtnet.Host) error
	}{
		{"LookupHost", func(ctx context.Context, h *virtnet.Host) error {
			_, err := h.LookupHost(ctx, longHost)
			return err
		}},
		{"Dial", func(ctx context.Context, h *virtnet.Host) error {
			_, err := h.Dial(ctx, longHost+":0") // refused, but there is such a host
			if !errors.Is(err, virtnet.ErrConnRefused) {
				return fmt.Errorf("not refused: %w", err)
			}
			return nil
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t, virtnet.Config{})
			f.query = func(context.Context, string) (string, error) { return "", nil } // a host elsewhere
			f.dial = func(context.Context, *virtnet.Addr, *virtnet.Addr, string) (net.Conn, *virtnet.Addr, error) {
				return nil, nil, virtnet.ErrConnRefused
			}
			h := f.host("α")
			addr := net.JoinHostPort(virtnet.HostIP(longHost).String(), "1")
			if _, err := h.Dial(t.Context(), addr); !errors.Is(err, virtnet.ErrNoHost) {
				t.Errorf("before: error %v, want ErrNoHost", err)
			}
			if err := x.use(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Dial(t.Context(), addr); !errors.Is(err, virtnet.ErrConnRefused) {
				t.Errorf("after: error %v, want ErrConnRefused", err)
			}
		})
	}
}

// net/http takes a name and its address, in a bubble, and looks nothing up: a lookup outside of the bubble
// would end the process otherwise.
func TestHTTPNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("web")
		defer n.Close()
		l, err := n.Host("α").Listen(t.Context(), ":80")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s", r.Host)
		})}
		go srv.Serve(xnet.BindCtxL(l, t.Context()))
		defer srv.Close()

		transport := &http.Transport{DialContext: n.Host("β").DialContext}
		defer transport.CloseIdleConnections()
		client := http.Client{Transport: transport}
		for url, want := range map[string]string{
			"http://α:80/": "hello xn--mxa:80", "http://[fd76:ceb1::]:80/": "hello [fd76:ceb1::]:80",
		} {
			resp, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(got) != want || err != nil {
				t.Errorf("GET %s: %q, %v, want %q", url, got, err, want)
			}
		}
	})
	// One that asks nobody.
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nothing is asked")
	}}
	for range 2 {
		_, _ = r.LookupHost(t.Context(), "virtnet.invalid.")
	}
}

// Code that insists on an IP address gets one.
func ExampleHost_LookupNetIP() {
	ctx := context.Background()
	network := pipenet.New("t")
	defer network.Close()
	l, _ := network.Host("α").Listen(ctx, ":80")
	go l.Accept(ctx)

	β := network.Host("β")
	ips, err := β.LookupNetIP(ctx, "ip", "α")
	fmt.Println(ips, err)
	c, err := β.Dial(ctx, netip.AddrPortFrom(ips[0], 80).String())
	fmt.Println(c.RemoteAddr(), err)
	names, err := β.LookupAddr(ctx, ips[0].String())
	fmt.Println(names, err)
	_, err = β.LookupNetIP(ctx, "ip", "γ")
	fmt.Println(err)
	// Output:
	// [fd76:ceb1::] <nil>
	// α:1 <nil>
	// [α] <nil>
	// lookup γ on pipet: no such host
}
