package netem_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// certificate returns configs of a server with the host name α, and of a client that trusts it. In a bubble the
// year is 2000, and a certificate that is made outside is not valid yet: it is made inside, by the bubble's clock. The name
// in it is the one that URLs have for α.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"xn--mxa"},
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

// web is an HTTP server on α with a client of it on β, 20 ms apart.
type web struct {
	*world
	server *http.Server
	client *http.Transport
	url    string
}

// webs are the ways to have TLS.
var webs = []struct {
	name   string
	proto  string
	listen func(w *web, server, client *tls.Config)
}{
	{"HTTP1", "HTTP/1.1", func(w *web, server, client *tls.Config) { w.ownTLS(server, client, false) }},
	{"HTTP2", "HTTP/2.0", func(w *web, server, client *tls.Config) { w.ownTLS(server, client, true) }},
	{"NetTLS", "HTTP/1.1", (*web).netTLS},
}

// ownTLS has net/http make TLS, as a program does that knows nothing of virtnet.
func (w *web) ownTLS(server, client *tls.Config, http2 bool) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	w.server.TLSConfig, w.server.Protocols = server, protocols
	w.client.DialContext, w.client.TLSClientConfig, w.client.Protocols = w.net.Host("β").DialContext, client, protocols
	l, err := w.net.Host("α").Listen(w.ctx, ":443")
	if err != nil {
		w.Fatal(err)
	}
	go w.server.ServeTLS(xnet.BindCtxL(l, w.ctx), "", "")
	w.url = "https://α/"
}

// netTLS has the network make TLS: net/http does not know of it.
func (w *web) netTLS(server, client *tls.Config) {
	idle := w.client.IdleConnTimeout
	w.client = xhttp.Transport(xnet.NetTLS(w.net.Host("β"), client))
	w.client.IdleConnTimeout = idle
	l, err := xnet.NetTLS(w.net.Host("α"), server).Listen(w.ctx, ":80")
	if err != nil {
		w.Fatal(err)
	}
	go w.server.Serve(xnet.BindCtxL(l, w.ctx))
	w.url = "http://α/"
}

// get gets the page, which has to take that long.
func (w *web) get(what, proto string, want time.Duration) {
	w.Helper()
	began := time.Now()
	resp, err := (&http.Client{Transport: w.client}).Get(w.url)
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil || resp.Proto != proto {
		w.Errorf("%s: %s, read %q, %v, want %s", what, resp.Proto, body, err, proto)
	}
	w.took(what, time.Since(began), want)
}

// TLS over net/http in virtual time: the time that each thing takes is exactly its round trips.
//
// A test with net/http in a bubble minds two things. Connections that are kept alive have goroutines, which have to end before
// the bubble can: so it calls CloseIdleConnections, and Close or Shutdown of the server. And a Transport is made in the bubble
// that uses it: http.DefaultTransport, which all share, is not.
func TestHTTPS(t *testing.T) {
	for _, test := range webs {
		t.Run(test.name, func(t *testing.T) {
			run(t, -1, func(w *world) {
				if err := w.em.SetAll(netem.Rules{Latency: netem.Constant(20 * ms)}); err != nil {
					t.Fatal(err)
				}
				hello := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello") })
				x := &web{world: w, server: &http.Server{Handler: hello, IdleTimeout: 5 * time.Minute},
					client: &http.Transport{IdleConnTimeout: 90 * time.Second}}
				server, client := certificate(t)
				test.listen(x, server, client)

				const rtt = 40 * ms
				x.get("the first request, with dial and handshake", test.proto, 3*rtt)
				time.Sleep(89 * time.Second)
				x.get("a request on a connection that was kept alive", test.proto, rtt)
				time.Sleep(91 * time.Second)
				x.get("a request after the client's idle time-out", test.proto, 3*rtt)

				p := w.em.Isolate("α")
				time.AfterFunc(4*time.Minute, p.Heal)
				x.get("a request in a partition", test.proto, 4*time.Minute+20*ms)
				x.giveUp()
				again := 3 * rtt
				if test.proto == "HTTP/2.0" {
					again = rtt // what is given up is a stream, not the connection
				}
				x.get("a request after one that was given up", test.proto, again)

				x.client.CloseIdleConnections()
				if err := x.server.Shutdown(w.ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// giveUp makes a request that is given up in a partition, which is then healed.
func (w *web) giveUp() {
	w.Helper()
	p := w.em.Isolate("β")
	began := time.Now()
	if _, err := (&http.Client{Transport: w.client, Timeout: time.Minute}).Get(w.url); !isTimeout(err) {
		w.Errorf("a request in a partition: %v, want a time-out", err)
	}
	w.took("giving up", time.Since(began), time.Minute)
	p.Heal()
	time.Sleep(time.Second)
}

// HTTP/2's own pings notice a partition: a request fails in virtual half a minute that has no time-out of its own.
func TestHTTP2Ping(t *testing.T) {
	run(t, -1, func(w *world) {
		hello := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello") })
		x := &web{world: w, server: &http.Server{Handler: hello}, client: &http.Transport{
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}}}
		server, client := certificate(t)
		x.ownTLS(server, client, true)
		x.get("the first request", "HTTP/2.0", 0)
		p := w.em.Isolate("α")
		began := time.Now()
		if _, err := (&http.Client{Transport: x.client}).Get(x.url); err == nil {
			t.Error("a request in a partition succeeds")
		}
		w.took("noticing a partition", time.Since(began), 30*time.Second)
		p.Heal()
		x.get("a request after the partition", "HTTP/2.0", 0)
		x.client.CloseIdleConnections()
		if err := x.server.Shutdown(w.ctx); err != nil {
			t.Error(err)
		}
	})
}
