package astranet_test

import (
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// duplex is a stream of two halves.
type duplex struct {
	io.Reader
	io.Writer
}

// closer is one that can be closed. It counts that.
type closer struct {
	duplex
	closed *atomic.Int32
}

func (c closer) Close() error {
	c.closed.Add(1)
	_ = c.Reader.(io.Closer).Close()
	return c.Writer.(io.Closer).Close()
}

// streams makes the two ends of a stream, and a function that ends it as its maker would.
var streams = []struct {
	name string
	make func(closed *atomic.Int32) (a, b io.ReadWriter, end func())
}{
	{"net.Pipe", func(*atomic.Int32) (a, b io.ReadWriter, end func()) {
		x, y := net.Pipe()
		return x, y, func() { x.Close() }
	}},
	{"io.Pipes", func(*atomic.Int32) (a, b io.ReadWriter, end func()) {
		ar, bw := io.Pipe()
		br, aw := io.Pipe()
		return duplex{ar, aw}, duplex{br, bw}, func() { ar.Close(); aw.Close(); br.Close(); bw.Close() }
	}},
	{"io.Pipes, to be closed", func(closed *atomic.Int32) (a, b io.ReadWriter, end func()) {
		ar, bw := io.Pipe()
		br, aw := io.Pipe()
		return closer{duplex{ar, aw}, closed}, closer{duplex{br, bw}, closed}, func() { ar.Close(); aw.Close() }
	}},
}

// attached runs f with two nodes that are linked by a stream, for each kind of stream, plain and TLS.
func attached(t *testing.T, f func(t *testing.T, a, b astranet.AstraNet, end func(), returned *atomic.Int32, closed *atomic.Int32)) {
	for _, s := range streams {
		for _, secured := range []bool{false, true} {
			name := s.name
			if secured {
				name += ", TLS"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ca, cb := astranet.Config{ID: 1}, astranet.Config{ID: 2}
					if secured {
						creds := meshOf(t, "a", "b") // in the bubble, whose time it is
						ca.Credentials, cb.Credentials = creds[0], creds[1]
					}
					var returned, closed atomic.Int32
					a, b := ca.New(), cb.New()
					defer a.Close()
					defer b.Close()
					x, y, end := s.make(&closed)
					defer end()
					go func() { a.Attach(x); returned.Add(1) }()
					time.Sleep(time.Hour) // as long as it takes until the other end is there
					go func() { b.Attach(y); returned.Add(1) }()
					bindEcho(t, b)
					wantEcho(t, a)
					f(t, a, b, end, &returned, &closed)
				})
			})
		}
	}
}

// A link over any stream; Attach returns at once when its node is closed, and the other's when that has heard of it.
func TestAttach(t *testing.T) {
	t.Parallel()
	attached(t, func(t *testing.T, a, b astranet.AstraNet, _ func(), returned, closed *atomic.Int32) {
		time.Sleep(time.Hour)
		wantEcho(t, a)
		if len(a.Routes()) != 1 || len(b.Routes()) != 1 || returned.Load() != 0 || closed.Load() != 0 {
			t.Errorf("routes %v, %v, %d have returned, %d were closed", a.Routes(), b.Routes(), returned.Load(), closed.Load())
		}
		begin := time.Now()
		a.Close()
		most := time.Duration(0)
		if strings.Contains(t.Name(), "io.Pipes") && !strings.Contains(t.Name(), "to_be_closed") {
			most = time.Second // there is no way to see that the other end has heard of it
		}
		if d := time.Since(begin); d > most {
			t.Errorf("Close took %v", d)
		}
		synctest.Wait()
		if n := returned.Load(); n != 2 || len(b.Routes()) != 0 {
			t.Errorf("%d have returned, want 2; routes %v", n, b.Routes())
		}
	})
}

// A stream that ends ends the link at once.
func TestAttachEnds(t *testing.T) {
	t.Parallel()
	attached(t, func(t *testing.T, a, b astranet.AstraNet, end func(), returned, closed *atomic.Int32) {
		end()
		synctest.Wait()
		if n := returned.Load(); n != 2 || len(a.Routes())+len(b.Routes()) != 0 {
			t.Errorf("%d have returned, want 2; routes %v, %v", n, a.Routes(), b.Routes())
		}
	})
}

// What Attach does with streams that are no good, and says in the log.
func TestAttachErrors(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		far  func(c net.Conn)
		end  time.Duration
		want string
	}{
		{"closed", func(c net.Conn) { c.Close() }, 0, "the other end has closed the connection before it was a link: unexpected EOF"},
		{"an echo", func(c net.Conn) { _, _ = io.Copy(c, c) }, 0, "the stream returns what is sent on it"},
		{"no node", func(c net.Conn) { _, _ = c.Write([]byte("login: but who are you? Say it now.")) }, 0,
			`the other end is no node that attaches: it begins with \"login: but who are you? \"`},
		{"stalls", func(c net.Conn) { time.Sleep(time.Hour); _, _ = c.Write([]byte("att")) }, time.Hour + 5*time.Second,
			"the other end has not attached the connection within 5s: context deadline exceeded"},
		{"stalls later", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			_, _ = c.Write([]byte("attached0123456789abcdef"))
		}, 5 * time.Second, "the other end has not sent its hello within 5s: context deadline exceeded"},
		{"itself", nil, 0, "it is linked with itself: the address is its own"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(logText)
				n := astranet.Config{Logger: slog.New(slog.NewTextHandler(log, nil))}.New()
				defer n.Close()
				near, far := net.Pipe()
				if x.far == nil {
					x.far = func(c net.Conn) { n.Attach(c) }
				}
				var wg sync.WaitGroup
				wg.Go(func() { x.far(far) })
				begin := time.Now()
				n.Attach(near)
				if d := time.Since(begin); d != x.end {
					t.Errorf("Attach returned after %v, want %v", d, x.end)
				}
				far.Close()
				wg.Wait()
				if got := log.String(); !strings.Contains(got, x.want) {
					t.Errorf("log %q, want %q", got, x.want)
				}
			})
		})
	}
}

// logText is a log, for several goroutines.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A node that is closed lets a stream go whose other end has never attached it, and one whose Writes hang.
func TestAttachClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, s := range streams {
			var closed atomic.Int32
			n := astranet.New()
			x, _, end := s.make(&closed)
			returned := make(chan struct{})
			go func() { n.Attach(x); close(returned) }()
			synctest.Wait()
			begin := time.Now()
			n.Close()
			<-returned
			if d := time.Since(begin); d != 0 {
				t.Errorf("%s: Close took %v", s.name, d)
			}
			if _, ok := x.(io.Closer); ok && strings.HasPrefix(s.name, "io") && closed.Load() != 1 {
				t.Errorf("%s: closed %d times", s.name, closed.Load())
			}
			end()
		}
	})
}

// A standby is used only as long as there is no other link.
func TestStandby(t *testing.T) {
	t.Parallel()
	a, addr := listening(t, astranet.Config{})
	b := newNode(t, astranet.Config{})
	bindEcho(t, a)
	x, y := net.Pipe()
	go a.Attach(x)
	go b.Attach(y)
	wantEcho(t, b)
	if err := b.Join("tcp", addr); err != nil {
		t.Fatal(err)
	}
	order := func() (standby []bool) {
		for _, l := range astranet.LinksWith(a, b.ID()) {
			standby = append(standby, l.Standby)
		}
		return standby
	}
	eventually(t, "the other link before the standby", func() bool { return slices.Equal(order(), []bool{false, true}) })
	wantEcho(t, b)
	x.Close()
	eventually(t, "the standby gone", func() bool { return slices.Equal(order(), []bool{false}) })
	wantEcho(t, b)
}

// A net.Conn from another machine is not attached without credentials.
func TestAttachForeign(t *testing.T) {
	t.Parallel()
	log := new(logText)
	n := newNode(t, astranet.Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	c, _ := net.Pipe()
	n.Attach(foreign{c})
	if want := "permission denied to attach a connection with 192.0.2.1:80: other machines could pretend to be anybody"; !strings.Contains(log.String(), want) {
		t.Errorf("log %q, want %q", log, want)
	}
	if _, err := c.Write([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("the connection was not closed: %v", err)
	}
}

type foreign struct{ net.Conn }

func (foreign) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// Another process by its standard input and output.
func TestAttachProcess(t *testing.T) {
	t.Parallel()
	n := newNode(t, astranet.Config{})
	o := start(t, "", "attach")
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		n.Attach(struct {
			io.Reader
			io.WriteCloser
		}{o.out, o.in})
	}()
	wantEcho(t, n)
	begin := time.Now()
	_ = o.Process.Kill()
	<-returned
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("the process's end was known after %v", d)
	}
}
