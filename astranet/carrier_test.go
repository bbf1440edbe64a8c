package astranet_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/xnet"
)

// proxied returns the address of an ordinary reverse proxy before an address.
func proxied(t testing.TB, server func(http.Handler) *httptest.Server, address string) *httptest.Server {
	t.Helper()
	p := server(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
	}})
	t.Cleanup(p.Close)
	return p
}

// A way is how two nodes are linked: it has s take links, and returns what c is to join.
type way struct {
	name string
	link func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (network, address string)
}

var ways = []way{
	{"tcp", listenAt("tcp", "127.0.0.1:0")},
	{"tcp4, by name", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		_, addr := listenAt("tcp4", "127.0.0.1:0")(t, s, c)
		_, port, _ := net.SplitHostPort(addr)
		return "tcp4", "localhost:" + port
	}},
	{"unix", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		return listenAt("unix", filepath.Join(t.TempDir(), "s"))(t, s, c)
	}},
	{"ws", listenAt("ws", "127.0.0.1:0/a/b")},
	{"ws, no path", listenAt("ws", "127.0.0.1:0")},
	{"ws behind a proxy", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		_, addr := listenAt("ws", "127.0.0.1:0/mesh")(t, s, c)
		host, path, _ := strings.Cut(addr, "/")
		p := proxied(t, httptest.NewServer, host)
		return "ws", strings.TrimPrefix(p.URL, "http://") + "/" + path
	}},
	{"wss behind a proxy", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		_, addr := listenAt("ws", "127.0.0.1:0/mesh")(t, s, c)
		host, path, _ := strings.Cut(addr, "/")
		p := proxied(t, httptest.NewTLSServer, host)
		c.HTTPClient = p.Client()
		t.Cleanup(c.HTTPClient.CloseIdleConnections)
		return "wss", strings.TrimPrefix(p.URL, "https://") + "/" + path
	}},
	{"ws, mounted", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		mux := http.NewServeMux()
		mux.Handle("/nodes/", s.Handler())
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return "ws", strings.TrimPrefix(server.URL, "http://") + "/nodes/x?y=z"
	}},
	{"one of its own", func(t testing.TB, s astranet.AstraNet, c *astranet.Config) (string, string) {
		_, addr := listenAt("tcp", "127.0.0.1:0")(t, s, c)
		c.Networks = []xnet.Networker{renamed{xnet.NetPlain("tcp"), "special"}}
		return "special", addr
	}},
}

// renamed is a network by another name.
type renamed struct {
	xnet.Networker
	name string
}

func (r renamed) Network() string { return r.name }

func listenAt(network, address string) func(testing.TB, astranet.AstraNet, *astranet.Config) (string, string) {
	return func(t testing.TB, s astranet.AstraNet, _ *astranet.Config) (string, string) {
		t.Helper()
		if err := s.ListenAndServe(network, address); err != nil {
			t.Fatal(err)
		}
		a := s.Addrs()[0]
		if want, _, _ := strings.Cut(network, "4"); a.Network() != want {
			t.Errorf("address of network %q, want %q", a.Network(), want)
		}
		return network, a.String()
	}
}

// meshOf returns credentials of nodes of one mesh.
func meshOf(t testing.TB, names ...string) (all []*ca.Credentials) {
	t.Helper()
	a, err := ca.Create("mesh", ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		all = append(all, credentials(t, a, name, ca.IssueOptions{}))
	}
	return all
}

func credentials(t testing.TB, a *ca.Authority, name string, o ca.IssueOptions) *ca.Credentials {
	t.Helper()
	i, err := a.Issue(name, o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.New(a.Material(i))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Links over every carrier, plain and with TLS within: data passes, either end's Close is known to the other at once, and
// a node that is there again is linked again.
func TestCarriers(t *testing.T) {
	t.Parallel()
	creds := meshOf(t, "server", "client")
	for _, w := range ways {
		for _, secured := range []bool{false, true} {
			for _, closes := range []string{"server", "client"} {
				name := w.name + ", plain, "
				if secured {
					name = w.name + ", TLS, "
				}
				t.Run(name+closes+" closes", func(t *testing.T) {
					t.Parallel()
					var cs, cc astranet.Config
					if secured {
						cs.Credentials, cc.Credentials = creds[0], creds[1]
					}
					s := newNode(t, cs)
					bindEcho(t, s)
					network, address := w.link(t, s, &cc)
					c := newNode(t, cc)
					if err := c.Join(network, address); err != nil {
						t.Fatal(err)
					}
					wantEcho(t, c)
					time.Sleep(10 * time.Millisecond)
					wantEcho(t, c)
					first, second := s, c
					if closes == "client" {
						first, second = c, s
					}
					eventually(t, "a link at both ends", func() bool { return len(first.Routes())+len(second.Routes()) == 2 })
					begin := time.Now()
					first.Close()
					eventually(t, "no link", func() bool { return len(second.Routes()) == 0 })
					if d := time.Since(begin); d > 2*time.Second {
						t.Errorf("the other end's Close was known after %v", d)
					}
				})
			}
		}
	}
}

// A large transfer over WebSocket: its deadlines, which end it, are not used.
func TestWebSocketBulk(t *testing.T) {
	t.Parallel()
	s, c := newNode(t, astranet.Config{}), newNode(t, astranet.Config{})
	if err := s.ListenAndServe("ws", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := c.Join("ws", s.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	near, far := pair(t, s, c, "svc")
	const size = 64 << 20
	go func() {
		b := make([]byte, 1<<20)
		for range size / len(b) {
			_, _ = near.Write(b)
		}
		near.Close()
	}()
	if n, err := io.Copy(io.Discard, far); n != size || err != nil {
		t.Errorf("%d bytes, %v, want %d", n, err, size)
	}
	if len(c.Routes()) != 1 {
		t.Error("the link is gone")
	}
}

// A program's own WebSocket can be attached, as the library makes a net.Conn of it.
func TestAttachWebSocket(t *testing.T) {
	t.Parallel()
	s, c := newNode(t, astranet.Config{}), newNode(t, astranet.Config{})
	bindEcho(t, s)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		s.Attach(websocket.NetConn(r.Context(), ws, websocket.MessageBinary))
	}))
	defer server.Close()
	ws, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); c.Attach(websocket.NetConn(t.Context(), ws, websocket.MessageBinary)) }()
	for range 20 {
		wantEcho(t, c)
		time.Sleep(5 * time.Millisecond)
	}
	c.Close()
	<-ended
}

// says returns the address of a server that says something to all who dial, and then reads.
func says(t testing.TB, what string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, what)
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

// What listening and joining refuse, in words.
func TestCarrierErrors(t *testing.T) {
	t.Parallel()
	const ways = ". Give the node Credentials, or set Insecure, in its Config"
	n := newNode(t, astranet.Config{})
	closed := newNode(t, astranet.Config{})
	closed.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	webAddr := strings.TrimPrefix(web.URL, "http://")
	ssh := says(t, "SSH-2.0-OpenSSH_9.9\r\n")
	for _, x := range []struct {
		name, network, address string
		f                      func(network, address string) error
		want                   string
		is                     error
	}{
		{"unknown network", "udp", "127.0.0.1:0", n.ListenAndServe, "listen udp 127.0.0.1:0: unknown network udp", nil},
		{"all addresses", "tcp", "192.0.2.1:80", n.ListenAndServe,
			"listen tcp 192.0.2.1:80: permission denied to take links at 192.0.2.1:80: other machines could pretend to be anybody" + ways, astranet.ErrDenied},
		{"all addresses, ws", "ws", "192.0.2.1:80/x", n.ListenAndServe,
			"listen ws 192.0.2.1:80/x: permission denied to take links at 192.0.2.1:80: other machines could pretend to be anybody" + ways, astranet.ErrDenied},
		{"no port", "tcp", "127.0.0.1", n.ListenAndServe, "listen tcp 127.0.0.1: address 127.0.0.1: missing port in address", nil},
		{"wss", "wss", "127.0.0.1:0", n.ListenAndServe,
			`listen wss 127.0.0.1:0: wss is for Join. Mount the node's Handler in a server with TLS, or listen at "ws" behind a proxy`, nil},
		{"closed", "tcp", "127.0.0.1:0", closed.ListenAndServe, "listen tcp 127.0.0.1:0: node is closed", net.ErrClosed},
		{"closed, join", "tcp", "127.0.0.1:1", closed.Join, "join tcp 127.0.0.1:1: node is closed", net.ErrClosed},
		{"join, unknown network", "udp", "127.0.0.1:1", n.Join, "join udp 127.0.0.1:1: unknown network udp", nil},
		{"join, no port", "tcp", "127.0.0.1", n.Join, "join tcp 127.0.0.1: address 127.0.0.1: missing port in address", nil},
		{"join, elsewhere", "tcp", "192.0.2.1:80", n.Join,
			"join tcp 192.0.2.1:80: permission denied to join 192.0.2.1: other machines could pretend to be anybody" + ways, astranet.ErrDenied},
		{"join, elsewhere, ws", "ws", "192.0.2.1:80", n.Join,
			"join ws 192.0.2.1:80: permission denied to join 192.0.2.1: other machines could pretend to be anybody" + ways, astranet.ErrDenied},
		{"join, no host", "ws", "/path", n.Join, "join ws /path: address /path: missing host", nil},
		{"join, nobody", "tcp", "127.0.0.1:1", n.Join, "join tcp 127.0.0.1:1: connect: connection refused", nil},
		{"join, nobody, ws", "ws", "127.0.0.1:1", n.Join, "join ws 127.0.0.1:1: connect: connection refused", nil},
		{"join, a web server", "ws", webAddr, n.Join,
			"join ws " + webAddr + ": the HTTP server does not take links there: it answers 404 Not Found: 404 page not found", nil},
		{"join, another server", "tcp", ssh, n.Join, "join tcp " + ssh + `: the other end is no node: it begins with "SSH-2.0-"`, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			err := x.f(x.network, x.address)
			if err == nil || err.Error() != x.want || x.is != nil && !errors.Is(err, x.is) {
				t.Errorf("got error\n\t%v, want\n\t%v", err, x.want)
			}
		})
	}
}

// An unset or unspecified host is this machine, and the log says so.
func TestListenLoopback(t *testing.T) {
	t.Parallel()
	for network, address := range map[string]string{"tcp": ":0", "tcp4": "0.0.0.0:0", "ws": ":0/x"} {
		var log strings.Builder
		n := newNode(t, astranet.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err := n.ListenAndServe(network, address); err != nil {
			t.Fatal(err)
		}
		a := n.Addrs()[0].String()
		n.Close()
		if !strings.HasPrefix(a, "127.0.0.1:") || !strings.Contains(log.String(), "from this machine only: the node has no Credentials and is not Insecure") {
			t.Errorf("%s %s: at %s, log %q", network, address, a, log.String())
		}
	}
}

// What a node without credentials does not take by its Handler, whoever mounts it where.
func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, remote string
		header       [2]string
		want         string
	}{
		{"elsewhere", "192.0.2.1:1234", [2]string{}, "permission denied to take a link from 192.0.2.1:1234: other machines could pretend to be anybody"},
		{"through a proxy", "127.0.0.1:1234", [2]string{"X-Forwarded-For", "192.0.2.1"}, "permission denied to take a link through a proxy: other machines"},
		{"through another proxy", "127.0.0.1:1234", [2]string{"Forwarded", "for=192.0.2.1"}, "permission denied to take a link through a proxy: other machines"},
		{"a browser", "127.0.0.1:1234", [2]string{"Origin", "http://127.0.0.1"}, "links are between nodes, not for browsers"},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := newNode(t, astranet.Config{})
			r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
			r.RemoteAddr = x.remote
			if x.header[0] != "" {
				r.Header.Set(x.header[0], x.header[1])
			}
			w := httptest.NewRecorder()
			n.Handler().ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || !strings.HasPrefix(w.Body.String(), x.want) {
				t.Errorf("got %d %q, want 403 %q", w.Code, w.Body, x.want)
			}
		})
	}
}
