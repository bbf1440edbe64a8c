package astranet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// shown returns the names of services, once each.
func shown(all []astranet.ServiceId) string {
	var names []string
	for _, s := range all {
		names = append(names, s.Service)
	}
	return strings.Join(slices.Compact(names), " ")
}

// A Client announces nothing and dials; a Server announces; New and Router do both. A node's own services are in its lookups.
func TestRoles(t *testing.T) {
	for _, role := range []struct {
		name string
		make func(astranet.AstraNet) astranet.AstraNet
		told bool
	}{
		{"New", astranet.AstraNet.New, true},
		{"Router", astranet.AstraNet.Router, true},
		{"Server", astranet.AstraNet.Server, true},
		{"Client", astranet.AstraNet.Client, false},
		{"New of Client", func(n astranet.AstraNet) astranet.AstraNet { return n.Client().New() }, true},
		{"Client WithEnv", func(n astranet.AstraNet) astranet.AstraNet { return n.Client().WithEnv() }, false},
		{"Client WithLoopBack", func(n astranet.AstraNet) astranet.AstraNet { return n.Client().WithLoopBack() }, false},
	} {
		t.Run(role.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &two{T: t, s: role.make(astranet.New()), c: astranet.New(), serves: make(chan struct{}, 2)}
				defer w.s.Close()
				defer w.c.Close()
				w.bind(w.s, "early")
				other := w.bind(w.c, "other")
				w.link()
				l := w.bind(w.s, "late:70")
				if got := shown(w.s.Services()); got != "early late other" {
					t.Errorf("it shows itself %q", got)
				}
				want := "other"
				if role.told {
					want = "early late other"
				}
				if got := shown(w.c.Services()); got != want {
					t.Errorf("others see %q, want %q", got, want)
				}
				a := begin(other.Accept)
				if _, err := w.s.Dial("", "other"); err != nil {
					t.Error(err)
				}
				a.result(t)
				a = begin(l.Accept) // by its id every node can be dialled
				if _, err := w.c.Dial("", astranet.HostName(w.s.ID())+":70"); err != nil {
					t.Error(err)
				}
				a.result(t)
			})
		})
	}
}

// WithEnv appends ".a.b" to the names bound and dialled, and to nothing else.
func TestEnvironments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := astranet.New().WithEnv("a", "b")
		b := a.WithEnv().New() // both keep it
		w := &two{T: t, s: a, c: b, serves: make(chan struct{}, 2)}
		defer a.Close()
		defer b.Close()
		l := w.bind(a, "svc:70")
		w.bind(a, ":80")
		w.link()
		if got := shown(b.Services()); got != "svc.a.b" {
			t.Errorf("got %q", got)
		}
		acceptAll(l)
		for _, hp := range []string{"svc", "svc:70", astranet.HostName(a.ID()) + ":70"} {
			if _, err := b.Dial("", hp); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.Dial("", "svc.a.b"); !errors.Is(err, astranet.ErrNoService) {
			t.Errorf("the full name in the environment: %v", err)
		}
		if s, ok := b.ServiceMap().Discover(nil, "svc.a.b"); !ok || s.Port != 70 || s.Host != a.ID() {
			t.Errorf("Discover: %v, %v", s, ok)
		}
		other := b.WithEnv("c")
		defer other.Close()
		w.c = other
		w.link2(a, other)
		if _, err := other.Dial("", "svc"); !errors.Is(err, astranet.ErrNoService) {
			t.Errorf("from another environment: %v", err)
		}
	})
}

// link2 links two further nodes.
func (w *two) link2(a, b astranet.AstraNet) {
	v := &two{T: w.T, s: a, c: b, serves: make(chan struct{}, 2)}
	before := len(a.Routes())
	x, y := net.Pipe()
	go a.Attach(x)
	go b.Attach(y)
	synctest.Wait()
	if len(a.Routes()) != before+1 {
		v.Fatal("no link")
	}
}

func acceptAll(l net.Listener) {
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
}

// A node reaches its own services only WithLoopBack, and then as others', by all forms of address.
func TestLoopBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := astranet.New().WithLoopBack()
		defer n.Close()
		l, err := n.Bind("", "svc:70")
		if err != nil {
			t.Fatal(err)
		}
		acceptAll(l)
		for _, hp := range []string{"svc", "svc:70", astranet.HostName(n.ID()) + ":70"} {
			c, err := n.Dial("", hp)
			if err != nil {
				t.Error(err)
				continue
			}
			if a := c.RemoteAddr().(*astranet.Addr); a.Host != n.ID() || a.Port != 70 {
				t.Errorf("%s: the other end is %v", hp, a)
			}
		}
		_, err = n.Dial("", astranet.HostName(n.ID())+":71")
		if !errors.Is(err, astranet.ErrRefused) {
			t.Errorf("got %v", err)
		}
		l.Close()
		if _, err = n.Dial("", "svc"); !errors.Is(err, astranet.ErrNoService) {
			t.Errorf("got %v", err)
		}
	})
}

// Every form of address, in Bind and Dial; ports that Bind picks; addresses of listeners and connections.
func TestAddresses(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		next := uint32(1<<24 + 1)
		for _, b := range []struct {
			hp, service string
			port        uint32
		}{{"a", "a", 0}, {"a:0", "a", 0}, {":0", "", 0}, {"", "", 0}, {":70", "", 70}, {"b:71", "b", 71}, {"b:4294967295", "b", math.MaxUint32}} {
			l := w.bind(w.s, b.hp)
			port := b.port
			if port == 0 {
				port, next = next, next+1
			}
			if a := l.Addr().(*astranet.Addr); a.Port != port || a.Host != w.s.ID() {
				w.Errorf("Bind(%q) is at %v, want port %d", b.hp, a, port)
			}
			_, found := w.c.ServiceMap().Discover(picker(func(s astranet.ServiceId) bool { return s.Port == port }), b.service)
			if found != (b.service != "") {
				w.Errorf("Bind(%q): %v, is it known? %v", b.hp, l.Addr(), found)
			}
			a := begin(l.Accept)
			hps := []string{astranet.HostName(w.s.ID())}
			if b.service != "" {
				hps = append(hps, b.service)
			}
			for _, host := range hps {
				c, err := w.c.Dial("tcp", fmt.Sprint(host, ":", port))
				if err != nil {
					w.Fatal(err)
				}
				s, err := a.result(w)
				if err != nil {
					w.Fatal(err)
				}
				sa, ca := s.LocalAddr().(*astranet.Addr), c.LocalAddr().(*astranet.Addr)
				if *sa != (astranet.Addr{Host: w.s.ID(), Port: port}) || ca.Host != w.c.ID() || ca.Net != "tcp" {
					w.Errorf("the ends are %+v and %+v", sa, ca)
				}
				if c.RemoteAddr().String() != sa.String() || s.RemoteAddr().String() != ca.String() {
					w.Errorf("%v and %v see %v and %v", sa, ca, s.RemoteAddr(), c.RemoteAddr())
				}
				a = begin(l.Accept)
			}
			l.Close()
			if _, err := a.result(w); !errors.Is(err, net.ErrClosed) {
				w.Error(err)
			}
		}
		synctest.Wait()
		if got := w.c.Services(); len(got) != 0 {
			w.Errorf("left are %v", got)
		}

		l := w.bind(w.s, "a:70")
		for hp, text := range map[string]string{
			"b:70": "listen tcp " + astranet.HostName(w.s.ID()) + ":70: address already in use",
			":x":   "listen tcp: address :x: invalid port",
			"a:":   "listen tcp: address a:: invalid port",
			"a:-1": "listen tcp: address a:-1: invalid port",
			"a:b:": "listen tcp: address a:b:: invalid port",
		} {
			_, err := w.s.Bind("tcp", hp)
			wantError(w, err, text)
		}
		_, err := w.s.Bind("", "b:70")
		if !errors.Is(err, syscall.EADDRINUSE) {
			w.Error(err)
		}
		l.Close()
		w.bind(w.s, "b:70").Close()
	})
}

// picker chooses the first instance that fits.
type picker func(astranet.ServiceId) bool

func (f picker) Select(pool []astranet.ServiceId) int { return max(slices.IndexFunc(pool, f), 0) }

// A service whose name looks like an id is one, unless there is such a node.
func TestHostNames(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		acceptAll(w.bind(w.s, "hello-world"))
		acceptAll(w.bind(w.s, "authservice:70"))
		acceptAll(w.bind(w.s, astranet.HostName(99)))
		for _, hp := range []string{"hello-world", "authservice", "authservice:70", astranet.HostName(99)} {
			if _, err := w.c.Dial("", hp); err != nil {
				w.Error(err)
			}
		}
		id := []byte(astranet.HostName(w.s.ID()))
		id[10]++ // the same 8 bytes, but not their canonical form
		acceptAll(w.bind(w.s, string(id)))
		c, err := w.c.Dial("", string(id))
		if err != nil {
			w.Fatal(err)
		}
		if p := c.RemoteAddr().(*astranet.Addr).Port; p <= 1<<24 {
			w.Errorf("it is at port %d", p)
		}
	})
	for _, id := range []uint64{0, 1, 1 << 63, math.MaxUint64, 0x0123456789abcdef} {
		name := astranet.HostName(id)
		if got, ok := astranet.ParseHostName(name); got != id || !ok || len(name) != 11 {
			t.Errorf("%d is %q, which is %d, %v", id, name, got, ok)
		}
	}
	for _, name := range []string{"", "AAAAAAAAAA", "AAAAAAAAAAAA", "AAAAAAAAAAB", "AAAAAAAAAA=", "AAAAAAAAA+A", "AAAAAAAAA\nA", "αAAAAAAAAA"} {
		if id, ok := astranet.ParseHostName(name); ok {
			t.Errorf("%q is taken for %d", name, id)
		}
	}
}

// HttpDial is for net/http: it leaves port 80 out, takes others as the port of the instance, and understands how net/http writes names.
func TestHttpDial(t *testing.T) {
	s, c := linked(t, astranet.Config{}, astranet.Config{})
	for _, hp := range []string{"web", "web:8080", "αβ"} {
		l, err := s.Bind("", hp)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hp, " is ", r.Host) })}
		go srv.Serve(l)
		defer srv.Close()
	}
	if _, ok := c.ServiceMap().DiscoverTimeout(nil, "αβ", patience); !ok {
		t.Fatal("the services are not known")
	}
	tr := &http.Transport{DialContext: func(_ context.Context, network, host string) (net.Conn, error) { return c.HttpDial(network, host) }}
	defer tr.CloseIdleConnections()
	get := func(url string) string {
		r, err := (&http.Client{Transport: tr, Timeout: patience}).Get(url)
		if err != nil {
			return err.Error()
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	for url, want := range map[string]string{
		"http://web:8080/": "web:8080 is web:8080",
		"http://αβ/":       "αβ is xn--mxac",
		"http://αβ:80/":    "αβ is xn--mxac:80",
	} {
		if got := get(url); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
	for range 20 { // both instances answer, at random
		if got := get("http://web/"); !strings.HasSuffix(got, " is web") {
			t.Errorf("got %q", got)
		}
	}
}

// A fresh node shares the settings and nothing else: no id, no ports, no links, no services, no end.
func TestFreshNodes(t *testing.T) {
	n, address := listening(t, astranet.Config{Backlog: 1})
	if _, err := n.Bind("", "svc:70"); err != nil {
		t.Fatal(err)
	}
	for name, fresh := range map[string]astranet.AstraNet{
		"New": n.New(), "Client": n.Client(), "Server": n.Server(), "Router": n.Router(), "WithEnv": n.WithEnv("x"), "WithLoopBack": n.WithLoopBack(),
	} {
		t.Run(name, func(t *testing.T) {
			defer fresh.Close()
			if fresh.ID() == n.ID() || len(fresh.Addrs())+len(fresh.Services())+len(fresh.Routes()) != 0 {
				t.Errorf("it is %s, with %v, %v, %v", astranet.HostName(fresh.ID()), fresh.Addrs(), fresh.Services(), fresh.Routes())
			}
			l, err := fresh.Bind("", "mine:70")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := fresh.Join("tcp", address); err != nil {
				t.Fatal(err)
			}
			fresh.Close()
			if _, err := n.Bind("", ""); err != nil {
				t.Errorf("the node that it was made of: %v", err)
			}
		})
	}
}

// A node that nobody has asked for anything has not started: it has no goroutine, draws no id and reads nothing.
func TestLazyStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		t.Setenv("MPXROUTER", "127.0.0.1:1")
		astranet.Config{FromEnv: true}.New()
		n := astranet.Config{FromEnv: true}.New()
		n.Close()
		n.Close()
		_, err := n.Bind("", "svc")
		wantError(t, err, "listen: node is closed", astranet.ErrNodeClosed)
		_, err = n.Dial("", "svc")
		if !errors.Is(err, astranet.ErrNodeClosed) {
			t.Errorf("got %v", err)
		}
		if it := n.ServiceMap().Iter(); it.Next() != nil {
			t.Error("an Iterator of a closed node goes on")
		}
	})
}

// The environment is read only if the Config says so.
func TestFromEnv(t *testing.T) {
	router, address := listening(t, astranet.Config{})
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bind := free.Addr().String()
	free.Close()
	t.Setenv("MPXROUTER", address)
	t.Setenv("SKYNET_BIND", bind)

	plain := newNode(t, astranet.Config{})
	plain.ID()
	client := astranet.Config{FromEnv: true}.New().Client()
	defer client.Close()
	client.ID()
	awaitRoutes(t, client, 1)
	if len(plain.Routes())+len(plain.Addrs())+len(client.Addrs()) != 0 {
		t.Errorf("a node without FromEnv has %v, %v; a client listens at %v", plain.Routes(), plain.Addrs(), client.Addrs())
	}
	server := newNode(t, astranet.Config{FromEnv: true})
	server.ID()
	awaitRoutes(t, server, 1)
	awaitRoutes(t, router, 2)
	if err := plain.Join("tcp", bind); err != nil {
		t.Error(err)
	}
}

func awaitRoutes(t testing.TB, n astranet.AstraNet, k int) {
	t.Helper()
	overdue := time.AfterFunc(patience, func() { n.RoutesMap().Close() })
	defer overdue.Stop()
	for it := n.RoutesMap().Iter(); len(n.Routes()) != k; it = it.Next() {
		if it == nil {
			t.Fatalf("there are %v, want %d", n.Routes(), k)
		}
	}
}

// A node without credentials keeps to this machine, and says how it would not.
func TestInsecure(t *testing.T) {
	n := newNode(t, astranet.Config{})
	for _, err := range []error{n.ListenAndServe("tcp", "192.0.2.1:0"), n.Join("tcp", "192.0.2.1:1")} {
		if !errors.Is(err, astranet.ErrDenied) || !strings.Contains(err.Error(), "Credentials") || !strings.Contains(err.Error(), "Insecure") {
			t.Errorf("got %v", err)
		}
	}
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		if err := n.ListenAndServe("tcp", address); err != nil {
			t.Error(err)
		}
	}
	for _, a := range n.Addrs() {
		if !a.(*net.TCPAddr).IP.IsLoopback() {
			t.Errorf("it listens at %v", a)
		}
	}
}

// BindContext ends the listener with its context, and nothing else.
func TestBindContext(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		ctx, cancel := context.WithCancel(context.Background())
		l, err := w.s.BindContext(ctx, "", "svc")
		if err != nil {
			w.Fatal(err)
		}
		c, s := w.connect(l)
		a := begin(l.Accept)
		a.blocked(w)
		cancel()
		_, err = a.result(w)
		wantCause(w, err, "accept", "use of closed network connection")
		synctest.Wait()
		if got := w.c.Services(); len(got) != 0 {
			w.Errorf("others see %v", got)
		}
		c.Write([]byte("still there"))
		wantRead(w, s, "still there")
		_, err = w.s.BindContext(ctx, "", "svc")
		wantError(w, err, "listen: context canceled", context.Canceled)
	})
}

// A Config with which something is wrong makes every call fail, and say what.
func TestConfigCheck(t *testing.T) {
	for name, k := range map[string]struct {
		cfg  astranet.Config
		text string
	}{
		"pattern": {astranet.Config{Rules: &astranet.Rules{List: []astranet.Rule{{}, {To: "a["}}}}, `invalid Config: rule 2: pattern "a[": syntax error in pattern`},
		"action":  {astranet.Config{Rules: &astranet.Rules{List: []astranet.Rule{{Do: 9}}}}, "invalid Config: rule 1: there is no action 9"},
		"backlog": {astranet.Config{Backlog: -1}, "invalid Config: Backlog is negative"},
		"grace":   {astranet.Config{Grace: -1}, "invalid Config: Grace is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, k.cfg)
			_, dial := n.Dial("", "svc")
			_, bind := n.Bind("", "svc")
			for _, err := range []error{dial, bind, n.Join("tcp", "127.0.0.1:1"), n.ListenAndServe("tcp", "127.0.0.1:0")} {
				if oe, ok := errors.AsType[*net.OpError](err); !ok || oe.Err.Error() != k.text || !errors.Is(err, astranet.ErrConfig) {
					t.Errorf("got %v, want %s", err, k.text)
				}
			}
			a, b := net.Pipe()
			defer b.Close()
			n.Attach(a) // returns
		})
	}
}
