package vdns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/vdns"
	"github.com/virtnet/virtnet/virtnettest"
	"github.com/virtnet/virtnet/xnet"
)

// longHost is a domain name that is too long to be in an address.
const longHost = "a-rather-long.name.example.com"

func TestResolver(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("t")
		defer n.Close()
		r := vdns.Resolver(n.Host("γ"))
		for _, x := range []struct{ host, asked, ptr string }{
			{"α", "xn--mxa", "xn--mxa."},
			{"beta", "beta", "beta."},
			{"Beta", "Beta", "Beta."},
			{"a_b-c.d", "a_b-c.d.", "a_b-c.d."},
			{longHost, longHost, longHost + "."},
			{"ελλάδα.example", "xn--hxakic4aa.example", "xn--hxakic4aa.example."},
			{"xn--nxa", "xn--nxa", "xn--nxa."},
		} {
			n.Host(x.host)
			want := virtnet.HostIP(x.host)
			if got, err := r.LookupHost(t.Context(), x.asked); err != nil || len(got) != 1 || got[0] != want.String() {
				t.Errorf("LookupHost(%s) = %v, %v, want %s", x.asked, got, err, want)
			}
			for _, network := range []string{"ip", "ip6"} {
				if got, err := r.LookupNetIP(t.Context(), network, x.asked); err != nil || len(got) != 1 || got[0] != want {
					t.Errorf("LookupNetIP(%s, %s) = %v, %v, want %s", network, x.asked, got, err, want)
				}
			}
			if got, err := r.LookupNetIP(t.Context(), "ip4", x.asked); !notFound(err) {
				t.Errorf("LookupNetIP(ip4, %s) = %v, %v, want it not found", x.asked, got, err)
			}
			if got, err := r.LookupCNAME(t.Context(), x.asked); got != strings.TrimSuffix(x.asked, ".")+"." || err != nil {
				t.Errorf("LookupCNAME(%s) = %q, %v, want it to be its own", x.asked, got, err)
			}
			if got, err := r.LookupAddr(t.Context(), want.String()); err != nil || len(got) != 1 || got[0] != x.ptr {
				t.Errorf("LookupAddr(%s) = %q, %v, want %q", want, got, err, x.ptr)
			}
			if got, err := r.LookupTXT(t.Context(), x.asked); !notFound(err) {
				t.Errorf("LookupTXT(%s) = %q, %v, want it not found", x.asked, got, err)
			}
		}
	})
}

// needsDNS skips a test where package net asks no DNS server for hosts, because nsswitch.conf says so.
func needsDNS(t *testing.T) {
	t.Helper()
	asked := errors.New("asked")
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, asked }}
	if _, err := r.LookupHost(t.Context(), "virtnet.invalid."); notFound(err) {
		t.Skip("nsswitch.conf of this machine has no dns for hosts")
	}
}

func notFound(err error) bool {
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	return ok && dnsErr.IsNotFound
}

// What no host has, and what is no domain name.
func TestResolverNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("t")
		defer n.Close()
		for _, name := range []string{"α", "two words", "...", "Β", "beta"} {
			n.Host(name)
		}
		r := vdns.Resolver(n.Host("γ"))
		for _, name := range []string{"nohost", "nohost.", "a.b.c", "BETA", "α", "two words", "...", "", ".", "xn--nxa", strings.Repeat("n", 64)} {
			if got, err := r.LookupHost(t.Context(), name); !notFound(err) {
				t.Errorf("LookupHost(%q) = %v, %v, want it not found", name, got, err)
			}
		}
		for _, addr := range []string{
			"127.0.0.77", "fd76::", "fd77::", "fd00::1", virtnet.HostIP("nohost").String(),
			virtnet.HostIP("two words").String(), virtnet.HostIP("...").String(), virtnet.HostIP("Β").String(),
		} {
			if got, err := r.LookupAddr(t.Context(), addr); !notFound(err) {
				t.Errorf("LookupAddr(%s) = %q, %v, want it not found", addr, got, err)
			}
		}
	})
}

// Many at once, of the same names and of others: package net merges those of the same.
func TestResolverConcurrently(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("t")
		defer n.Close()
		r := vdns.Resolver(n.Host("h0"))
		var wg sync.WaitGroup
		for i := range 100 {
			name := fmt.Sprint("h", i%10)
			n.Host(name)
			wg.Go(func() {
				got, err := r.LookupNetIP(t.Context(), "ip", name)
				if err != nil || got[0] != virtnet.HostIP(name) {
					t.Errorf("LookupNetIP(%s) = %v, %v", name, got, err)
				}
			})
		}
		wg.Wait()
	})
}

// Two networks know nothing of each other's names.
func TestResolverTwoNetworks(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		n1, n2 := pipenet.New("1"), pipenet.New("2")
		defer n1.Close()
		defer n2.Close()
		r1, r2 := vdns.Resolver(n1.Host("a")), vdns.Resolver(n2.Host("b"))
		for _, x := range []struct {
			r     *net.Resolver
			name  string
			found bool
		}{{r1, "a", true}, {r1, "b", false}, {r2, "a", false}, {r2, "b", true}} {
			_, err := x.r.LookupHost(t.Context(), x.name)
			if x.found && err != nil || !x.found && !notFound(err) {
				t.Errorf("LookupHost(%s): %v, want found: %v", x.name, err, x.found)
			}
		}
	})
}

func TestResolverErrors(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("t")
		h := n.Host("a")
		r := vdns.Resolver(h)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.LookupNetIP(ctx, "ip", "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v, want the context's error", err)
		}
		h.Close()
		_, err := r.LookupHost(t.Context(), "a")
		if dnsErr, ok := errors.AsType[*net.DNSError](err); !ok || !dnsErr.IsTemporary || dnsErr.IsNotFound {
			t.Errorf("host down: %#v, want a temporary error", err)
		}
		n.Close()
		_, err = r.LookupAddr(t.Context(), virtnet.HostIP("a").String())
		if dnsErr, ok := errors.AsType[*net.DNSError](err); !ok || !dnsErr.IsTemporary || dnsErr.IsNotFound {
			t.Errorf("network down: %#v, want a temporary error", err)
		}
	})
}

// A registry that does not answer ends with the lookup, on time, and leaves no goroutine: a bubble would notice.
func TestResolverTimeout(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		sub, _ := virtnet.NewSubNetwork("slow", engine{}, registry{})
		defer sub.Close()
		h, err := sub.NewHost(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		r := vdns.Resolver(h)
		for name, lookup := range map[string]func(ctx context.Context) error{
			"LookupHost":  func(ctx context.Context) error { _, err := r.LookupHost(ctx, "b."); return err },
			"LookupNetIP": func(ctx context.Context) error { _, err := r.LookupNetIP(ctx, "ip", "b."); return err },
			"LookupAddr":  func(ctx context.Context) error { _, err := r.LookupAddr(ctx, "fd76:6200::"); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // less than resolv.conf can say
			start := time.Now()
			err := lookup(ctx)
			if dnsErr, ok := errors.AsType[*net.DNSError](err); !ok || !dnsErr.IsTimeout || time.Since(start) != 100*time.Millisecond {
				t.Errorf("%s: %v after %v, want a time-out after 100ms", name, err, time.Since(start))
			}
			cancel()
			if err := lookup(t.Context()); !isTimeout(err) { // by resolv.conf
				t.Errorf("%s without a deadline: %v, want a time-out", name, err)
			}
		}
	})
}

func isTimeout(err error) bool {
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	return ok && dnsErr.IsTimeout
}

// engine announces, and registry answers no query.
type (
	engine   struct{}
	registry struct{}
)

func (engine) VNetNewHost(ctx context.Context, name string, r virtnet.Registry) error {
	return r.Announce(ctx, name, "")
}

func (engine) VNetDial(context.Context, *virtnet.Addr, *virtnet.Addr, string) (net.Conn, *virtnet.Addr, error) {
	return nil, nil, virtnet.ErrConnRefused
}
func (engine) Close() error                                     { return nil }
func (registry) Announce(context.Context, string, string) error { return nil }
func (registry) Close() error                                   { return nil }

func (registry) Query(ctx context.Context, name string) (string, error) {
	<-ctx.Done()
	return "", &virtnet.RegistryError{Registry: "slow", Op: "query", Args: name, Err: ctx.Err()}
}

// resolving dials as code does that resolves first and insists on an IP address.
func resolving(h *virtnet.Host) func(ctx context.Context, network, addr string) (net.Conn, error) {
	r := vdns.Resolver(h)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ips, err := r.LookupIPAddr(ctx, host)
		if err != nil {
			return nil, err
		}
		return h.DialContext(ctx, network, net.JoinHostPort(ips[0].String(), port))
	}
}

// testHTTP gets from α by its name and by its address, with a client that resolves first and one that does not.
func testHTTP(t *testing.T, α, β *virtnet.Host) {
	l, err := α.Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.Host) })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(xnet.BindCtxL(l, context.Background())) }()
	defer func() { srv.Close(); <-served }()

	for name, dial := range map[string]func(ctx context.Context, network, addr string) (net.Conn, error){
		"Host.DialContext": β.DialContext, "resolving first": resolving(β),
	} {
		transport := &http.Transport{DialContext: dial}
		client := http.Client{Transport: transport}
		for url, want := range map[string]string{
			"http://α:80/": "hello xn--mxa:80", "http://[fd76:ceb1::]:80/": "hello [fd76:ceb1::]:80",
		} {
			resp, err := client.Get(url)
			if err != nil {
				t.Errorf("%s: GET %s: %v", name, url, err)
				continue
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(got) != want || err != nil {
				t.Errorf("%s: GET %s: %q, %v, want %q", name, url, got, err, want)
			}
		}
		if _, err := client.Get("http://nohost:80/"); err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%s: GET from no host: %v, want no such host", name, err)
		}
		transport.CloseIdleConnections()
	}
}

func TestHTTPPipenet(t *testing.T) {
	needsDNS(t)
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("web")
		defer n.Close()
		testHTTP(t, n.Host("α"), n.Host("β"))
	})
}

func TestHTTPLonet(t *testing.T) {
	needsDNS(t)
	virtnettest.NoLeaks(t)
	here, err := lonet.Join(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	there, err := lonet.Join(t.Context(), here.Network()[len("lonet"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	α, β := virtnettest.NewHosts(t, here, "α")[0], virtnettest.NewHosts(t, there, "β")[0]
	testHTTP(t, α, β)
	virtnettest.NewHosts(t, here, longHost)
	names, err := vdns.Resolver(β).LookupAddr(t.Context(), virtnet.HostIP(longHost).String())
	if !notFound(err) {
		t.Errorf("a long name that is not known there: %q, %v, want it not found", names, err)
	}
	ips, err := vdns.Resolver(β).LookupNetIP(t.Context(), "ip", longHost)
	if err != nil {
		t.Fatal(err)
	}
	_, err = β.Dial(t.Context(), netip.AddrPortFrom(ips[0], 80).String())
	if !errors.Is(err, virtnet.ErrConnRefused) {
		t.Errorf("dialling the address of a long name: %v, want ErrConnRefused", err)
	}
}

// BenchmarkLookup compares a host's own lookup with that through package net.
func BenchmarkLookup(b *testing.B) {
	n := pipenet.New("bench")
	defer n.Close()
	h := n.Host("beta")
	for name, r := range map[string]interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}{"host": h, "resolver": vdns.Resolver(h)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.LookupNetIP(b.Context(), "ip", "beta"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A dialler that resolves names before it dials.
func ExampleResolver() {
	ctx := context.Background()
	network := pipenet.New("t")
	defer network.Close()
	l, _ := network.Host("db").Listen(ctx, ":5432")
	go l.Accept(ctx)

	web := network.Host("web")
	ips, err := vdns.Resolver(web).LookupNetIP(ctx, "ip", "db")
	fmt.Println(ips, err)
	c, err := web.Dial(ctx, netip.AddrPortFrom(ips[0], 5432).String())
	fmt.Println(c.RemoteAddr(), err)
	// Output:
	// [fd76:6462::] <nil>
	// db:1 <nil>
}
