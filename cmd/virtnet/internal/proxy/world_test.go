package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/virtnettest"
)

// A world is a network with the hosts α, which tests listen on, and β, from which a proxy dials.
type world struct {
	t           *testing.T
	tmp         string // directory of the networks
	alpha, beta *virtnet.Host
	proxy       *Proxy
	addr        string             // of the proxy
	stop        context.CancelFunc // ends it
	ended       chan error         // what its Serve has returned

	mu     sync.Mutex
	events []Event
}

// newWorld makes a world for a test. When that ends, the proxy must have told of the end of every connection, nothing may
// be left, and β's ports must be free.
func newWorld(t *testing.T, c Config) *world {
	virtnettest.NoLeaks(t)
	w := &world{t: t, ended: make(chan error, 1)}
	w.tmp = t.TempDir()
	w.alpha, w.beta = newHost(t, w.tmp, "α"), newHost(t, w.tmp, "β")
	if c.Dial == nil {
		c.Dial = w.beta.DialContext
	}
	c.Tell = func(e Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.proxy = c.New()
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { w.ended <- w.proxy.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-w.ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		w.checkEnded()
		w.checkPort()
	})
	return w
}

func newHost(t *testing.T, tmp, name string) *virtnet.Host {
	n, err := lonet.Config{TempDir: tmp}.Join(t.Context(), "tea")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	h, err := n.NewHost(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// told returns the events of a kind.
func (w *world) told(kind Kind) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e Event) bool { return e.Kind != kind })
}

// wait waits for the nth event of a kind, from 1, and returns it.
func (w *world) wait(kind Kind, n int) Event {
	w.t.Helper()
	var all []Event
	w.until("event", func() bool {
		all = w.told(kind)
		return len(all) >= n
	})
	return all[n-1]
}

// until waits until something holds.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// checkEnded checks that what has begun has ended.
func (w *world) checkEnded() {
	if opened, ended := len(w.told(Opened)), len(w.told(Ended)); opened != ended {
		w.t.Errorf("%d connections were opened, %d have ended", opened, ended)
	}
}

// checkPort checks that β's lowest port is free.
func (w *world) checkPort() {
	l, err := w.beta.Listen(context.Background(), "")
	if err != nil {
		w.t.Error(err)
		return
	}
	defer l.Close()
	if port := l.Addr().(*virtnet.Addr).Port; port != 1 {
		w.t.Errorf("β's lowest free port is %d, want 1", port)
	}
}

// listen lets serve have every connection to α at port. It is closed when serve returns.
func (w *world) listen(port string, serve func(net.Conn)) {
	l, err := w.alpha.Listen(w.t.Context(), ":"+port)
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	w.t.Cleanup(func() {
		w.alpha.Close()
		all.Wait()
	})
}

// listenHTTP serves HTTP on α at port.
func (w *world) listenHTTP(port string, handler http.HandlerFunc) {
	l, err := w.alpha.Listen(w.t.Context(), ":"+port)
	if err != nil {
		w.t.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			one := newHandoff(l.Addr())
			go srv.Serve(one)
			one.give(conn)
			one.Close()
		}
	}()
	w.t.Cleanup(func() {
		w.alpha.Close()
		srv.Close()
		<-done
	})
}

// connect connects to the proxy, for as long as the test runs.
func (w *world) connect() *net.TCPConn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	w.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// say sends words, and reads as much as the answer that is wanted.
func say(t *testing.T, c net.Conn, words, want string) {
	t.Helper()
	if _, err := io.WriteString(c, words); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if string(got[:n]) != want {
		t.Fatalf("to %q: answer %q (%v), want %q", words, got[:n], err, want)
	}
}

// wantEnd checks that nothing comes but the end of what the other side sends.
func wantEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("read %q (%v), want the end", b, err)
	}
}

// wantReset checks that nothing comes but an error, which is no timeout.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	b, err := io.ReadAll(c)
	var timeout net.Error
	if err == nil || len(b) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("read %q (%v), want a reset", b, err)
	}
}

// echo sends back what comes, and then the end.
func echo(c net.Conn) {
	io.Copy(c, c)
	c.(*virtnet.Conn).CloseWrite()
}

// tunnels are the ways to get a connection that is the client's, with what a client says and hears.
var tunnels = []struct {
	name  string
	to    func(host string, port int) string
	heard string
}{
	{"socks", socksTo, "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"connect", connectTo, "HTTP/1.1 200 Connection established\r\n\r\n"},
}

// socksTo is what a client says that does not wait for the answer to its greeting.
func socksTo(host string, port int) string {
	return "\x05\x01\x00" + "\x05\x01\x00\x03" + string([]byte{byte(len(host))}) + host + string([]byte{byte(port >> 8), byte(port)})
}

func connectTo(host string, port int) string {
	return fmt.Sprintf("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n", host, port)
}
