package pipenet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// kinds are the kinds of pipenet.
var kinds = []struct {
	name   string
	config pipenet.Config
}{
	{"Synchronous", pipenet.Config{}},
	{"Buffered", pipenet.Config{Buffer: -1}},
}

// Everything that waits is a durable block: in a bubble hours pass at once, and nothing but time ends it.
func TestBubble(t *testing.T) {
	const hours = 5 * time.Hour
	for _, kind := range kinds {
		for _, x := range []struct {
			name string
			// run blocks for hours of virtual time, and returns the error with which that ended.
			run  func(w *bubble) error
			want error
		}{
			{"Dial until Accept", func(w *bubble) error {
				w.after(hours, func() error { _, err := w.l.Accept(w.ctx); return err })
				_, err := w.α.Dial(w.ctx, "β:1")
				return err
			}, nil},
			{"Accept until Dial", func(w *bubble) error {
				w.after(hours, func() error { _, err := w.α.Dial(w.ctx, "β:1"); return err })
				_, err := w.l.Accept(w.ctx)
				return err
			}, nil},
			{"Read until Write", func(w *bubble) error {
				w.after(hours, func() error { _, err := w.d.Write([]byte("x")); return err })
				_, err := w.c.Read(make([]byte, 1))
				return err
			}, nil},
			{"Write until Read", func(w *bubble) error {
				w.fill()
				w.after(hours, func() error { _, err := w.d.Read(make([]byte, 1<<20)); return err })
				_, err := w.c.Write([]byte("x"))
				return err
			}, nil},
			{"Read until EOF", func(w *bubble) error {
				w.after(hours, w.d.Close)
				_, err := w.c.Read(make([]byte, 1))
				return err
			}, io.EOF},
			{"Read until the deadline", func(w *bubble) error {
				_ = w.c.SetReadDeadline(time.Now().Add(hours))
				_, err := w.c.Read(make([]byte, 1))
				return err
			}, os.ErrDeadlineExceeded},
			{"Read until a deadline that is set meanwhile", func(w *bubble) error {
				w.after(hours/2, func() error { return w.c.SetReadDeadline(time.Now().Add(hours / 2)) })
				_, err := w.c.Read(make([]byte, 1))
				return err
			}, os.ErrDeadlineExceeded},
			{"Write until the deadline", func(w *bubble) error {
				w.fill()
				_ = w.c.SetWriteDeadline(time.Now().Add(hours))
				_, err := w.c.Write([]byte("x"))
				return err
			}, os.ErrDeadlineExceeded},
			{"Dial until the context's deadline", func(w *bubble) error {
				ctx, cancel := context.WithTimeout(w.ctx, hours)
				defer cancel()
				_, err := w.α.Dial(ctx, "β:1")
				return err
			}, context.DeadlineExceeded},
			{"Accept until the context's deadline", func(w *bubble) error {
				ctx, cancel := context.WithTimeout(w.ctx, hours)
				defer cancel()
				_, err := w.l.Accept(ctx)
				return err
			}, context.DeadlineExceeded},
			{"Dial until the listener closes", func(w *bubble) error {
				w.after(hours, w.l.Close)
				_, err := w.α.Dial(w.ctx, "β:1")
				return err
			}, virtnet.ErrConnRefused},
			{"Dial until the host closes", func(w *bubble) error {
				w.after(hours, w.α.Close)
				_, err := w.α.Dial(w.ctx, "β:1")
				return err
			}, virtnet.ErrHostDown},
			{"Accept until the host closes", func(w *bubble) error {
				w.after(hours, w.β.Close)
				_, err := w.l.Accept(w.ctx)
				return err
			}, virtnet.ErrHostDown},
			{"Read until the host closes", func(w *bubble) error {
				w.after(hours, w.α.Close)
				_, err := w.c.Read(make([]byte, 1))
				return err
			}, virtnet.ErrHostDown},
			{"Write until the network closes", func(w *bubble) error {
				w.fill()
				w.after(hours, pipenet.AsVirtNet(w.n).Close)
				_, err := w.c.Write([]byte("x"))
				return err
			}, virtnet.ErrNetDown},
		} {
			t.Run(kind.name+"/"+x.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newBubble(t, kind.config)
					began := time.Now()
					if err := x.run(w); !errors.Is(err, x.want) {
						t.Errorf("error %v, want %v", err, x.want)
					}
					if d := time.Since(began).Round(time.Microsecond); d != hours { // fill takes a nanosecond
						t.Errorf("it took %v, want %v", d, hours)
					}
				})
			})
		}
	}
}

// bubble is a network in a bubble: α is connected to β, which listens at port 1.
type bubble struct {
	*testing.T
	ctx  context.Context
	n    *pipenet.Network
	α, β *virtnet.Host
	l    xnet.Listener
	c, d net.Conn
}

func newBubble(t *testing.T, config pipenet.Config) *bubble {
	w := &bubble{T: t, ctx: context.Background(), n: config.New("t")}
	w.α, w.β = w.n.Host("α"), w.n.Host("β")
	t.Cleanup(func() {
		if err := pipenet.AsVirtNet(w.n).Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if w.l, err = w.β.Listen(w.ctx, ":1"); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error)
	go func() {
		var err error
		w.d, err = w.l.Accept(w.ctx)
		accepted <- err
	}()
	if w.c, err = w.α.Dial(w.ctx, "β:1"); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	return w
}

// after does something after that time.
func (w *bubble) after(d time.Duration, f func() error) {
	go func() {
		time.Sleep(d)
		if err := f(); err != nil {
			w.Error(err)
		}
	}()
}

// fill writes until that blocks.
func (w *bubble) fill() {
	_ = w.c.SetWriteDeadline(time.Now().Add(time.Nanosecond))
	_, err := w.c.Write(make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		w.Fatal(err)
	}
	_ = w.c.SetWriteDeadline(time.Time{})
}

// Three hosts tell each other every half minute that they are alive, for a day. One of them is out for an hour.
func TestHeartbeat(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			real := wallClock()
			synctest.Test(t, func(t *testing.T) { testHeartbeat(t, kind.config.New("t")) })
			if took := real(); took > 5*time.Second { // it takes well under a second; the race detector more
				t.Errorf("a day takes %v", took)
			}
		})
	}
}

// wallClock returns a function that tells how much time has passed outside of bubbles.
func wallClock() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

func testHeartbeat(t *testing.T, n *pipenet.Network) {
	const beat, day = 30 * time.Second, 24 * time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), day)
	defer cancel()
	names := []string{"α", "β", "γ"}
	var mu sync.Mutex
	heard := make(map[string]int) // by "who from whom"
	var wg sync.WaitGroup
	live := func(ctx context.Context, name string) {
		h := n.Host(name)
		context.AfterFunc(ctx, func() { _ = h.Close() })
		l, err := h.Listen(ctx, ":1")
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() {
			for {
				c, err := l.Accept(ctx)
				if err != nil {
					return
				}
				b, err := io.ReadAll(c)
				if err == nil {
					mu.Lock()
					heard[name+" from "+string(b)]++
					mu.Unlock()
				}
				_ = c.Close()
			}
		})
		wg.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(beat) {
				for _, other := range names {
					if other == name {
						continue
					}
					if c, err := h.Dial(ctx, other+":1"); err == nil { // it may be out
						_, _ = io.WriteString(c, name)
						_ = c.Close()
					}
				}
			}
		})
	}
	outage, out := context.WithTimeout(ctx, 12*time.Hour)
	defer out()
	live(ctx, "α")
	live(ctx, "β")
	live(outage, "γ")
	time.Sleep(13 * time.Hour)
	live(ctx, "γ")
	wg.Wait()

	const all = int(day / beat)
	const most = all - int(time.Hour/beat)
	for _, x := range []struct {
		who  string
		want int
	}{
		{"α from β", all}, {"β from α", all},
		{"α from γ", most}, {"γ from α", most}, {"β from γ", most}, {"γ from β", most},
	} {
		if got := heard[x.who]; got < x.want-10 || got > x.want+10 { // at the edges both may happen
			t.Errorf("%s: %d heartbeats, want %d", x.who, got, x.want)
		}
	}
	if err := pipenet.AsVirtNet(n).Close(); err != nil {
		t.Error(err)
	}
}

// Several networks live in one bubble.
func TestBubbleOfNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newBubble(t, pipenet.Config{}), newBubble(t, pipenet.Config{Buffer: -1})
		// A gateway hands on what comes from one to the other.
		done := make(chan error)
		go func() { _, err := io.Copy(b.c, a.d); done <- errors.Join(err, b.c.Close()) }()
		a.after(time.Hour, func() error { _, err := io.WriteString(a.c, "hello"); return errors.Join(err, a.c.Close()) })
		got, err := io.ReadAll(b.d)
		if string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// net/http's server and client work in a bubble, time-outs included, without TLS and with it.
func TestBubbleHTTP(t *testing.T) {
	for _, kind := range kinds {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", kind.name, secure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := kind.config.New("t")
					defer pipenet.AsVirtNet(n).Close()
					var α, β xnet.Networker = n.Host("α"), n.Host("β")
					if secure {
						config := selfSigned(t)
						α, β = xnet.NetTLS(α, config), xnet.NetTLS(β, config)
					}
					testHTTP(t, α, β)
				})
			})
		}
	}
}

func testHTTP(t *testing.T, α, β xnet.Networker) {
	const slow = time.Hour
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-time.After(slow):
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprintf(w, "%s for %s", r.URL.Path, r.RemoteAddr)
	})}
	l, err := β.Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- xhttp.Serve(context.Background(), srv, l) }()

	client := xhttp.Client(α)
	get := func(path string) (string, error) {
		resp, err := client.Get("http://β:80" + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	for _, path := range []string{"/", "/slow", "/again"} {
		began := time.Now()
		got, err := get(path)
		if want := path + " for α:1"; got != want || err != nil {
			t.Errorf("GET %s: %q, %v, want %q", path, got, err, want)
		}
		if path == "/slow" && time.Since(began) < slow {
			t.Errorf("GET %s took %v, want %v", path, time.Since(began), slow)
		}
	}
	client.Timeout = slow / 2
	began := time.Now()
	_, err = get("/slow")
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("GET with a time-out: %v", err)
	}
	if d := time.Since(began); d != slow/2 {
		t.Errorf("the time-out came after %v, want %v", d, slow/2)
	}

	client.CloseIdleConnections()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
}

// selfSigned returns the configuration of a server, and of those who trust it.
func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const name = "beta.test" // a certificate cannot be for β
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool,
		ServerName:   name,
	}
}
