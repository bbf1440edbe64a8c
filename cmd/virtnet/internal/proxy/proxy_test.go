package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/virtnettest"
)

// What is neither HTTP nor SOCKS5 hears so at once.
func TestStrangers(t *testing.T) {
	w := newWorld(t, Config{})
	const other = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
		"virtnet: this is a proxy for HTTP and SOCKS5, without TLS, and what came is neither.\n"
	for i, test := range []struct {
		words, answer string
		err           error
	}{
		{"\x04\x01\x00\x50\x00\x00\x00\x01\x00α\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", errSocks4},
		{"\x16\x03\x01\x02\x00\x01\x00", other, errStranger}, // TLS
		{"\x00", other, errStranger},
		{"\r\n", other, errStranger},
		{"get / HTTP/1.1\r\n\r\n", other, errStranger},
		{strings.Repeat("\xff", 200<<10), other, errStranger},
	} {
		c := w.connect()
		go io.WriteString(c, test.words)
		b, err := io.ReadAll(c)
		if string(b) != test.answer || err != nil && len(test.words) < 64<<10 {
			t.Errorf("%.20q: answer %q (%v), want %q", test.words, b, err, test.answer)
		}
		if e := w.wait(Refused, i+1); e.Err != test.err || e.Protocol != Unknown {
			t.Errorf("%.20q: told %+v", test.words, e)
		}
	}
}

// Who says nothing, or not enough, is dropped in time.
func TestSlowStrangers(t *testing.T) {
	const limit = 100 * time.Millisecond
	w := newWorld(t, Config{HandshakeTimeout: limit})
	for _, words := range []string{"", "\x05", "\x05\x02\x00", "\x05\x01\x00", "\x05\x01\x00\x05\x01\x00\x03\x05a", "G", "GET http://α/ HTTP/1.1\r\nHost:", "CONNECT"} {
		c := w.connect()
		io.WriteString(c, words)
		start := time.Now()
		io.Copy(io.Discard, c)
		if took := time.Since(start); took > 15*time.Second { // the deadline of the test
			t.Errorf("%q: dropped after %v", words, took)
		}
	}
	if told := len(w.told(Refused)); told > 0 {
		t.Errorf("%d were told of", told)
	}
}

// An HTTP client that has nothing more to ask is dropped, and one in the middle of something is not.
func TestIdle(t *testing.T) {
	w := newWorld(t, Config{HandshakeTimeout: time.Second, IdleTimeout: 50 * time.Millisecond})
	goOn := make(chan struct{})
	w.listenHTTP("80", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-goOn
		}
		io.WriteString(rw, "ok")
	})
	w.listen("81", echo)
	slow, idle, tunnel, socks := w.connect(), w.connect(), w.connect(), w.connect()
	io.WriteString(slow, "GET http://α/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	say(t, tunnel, connectTo("α", 81), tunnels[1].heard)
	say(t, socks, socksTo("α", 81), tunnels[0].heard)
	io.WriteString(idle, "GET http://α/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(idle); err != nil || !strings.HasSuffix(string(b), "ok") {
		t.Errorf("read %q, %v", b, err)
	}
	io.Copy(io.Discard, w.connect()) // until one that begins now is dropped that says nothing
	say(t, tunnel, "hello", "hello")
	say(t, socks, "hello", "hello")
	close(goOn)
	if b, err := io.ReadAll(slow); err != nil || !strings.HasSuffix(string(b), "ok") {
		t.Errorf("read %q, %v", b, err)
	}
}

// At the limit clients wait for their turn, and nobody is turned away who is served.
func TestMaxConns(t *testing.T) {
	w := newWorld(t, Config{MaxConns: 3})
	w.listen("80", echo)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			c, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, socksTo("α", 80)+"hello")
			b := make([]byte, len(tunnels[0].heard+"hello"))
			if _, err := io.ReadFull(c, b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.wait(Ended, 30)
	now, most := 0, 0
	for _, e := range w.events {
		if e.Kind == Opened {
			now++
		} else {
			now--
		}
		most = max(most, now)
	}
	if most > 3 {
		t.Errorf("%d connections at once", most)
	}
}

// A client that asks for nothing makes room.
func TestMaxConnsQuiet(t *testing.T) {
	w := newWorld(t, Config{MaxConns: 2})
	w.listen("80", echo)
	quiet, idle := w.connect(), w.connect()
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		say(t, w.connect(), connectTo("α", 80)+"hello", tunnels[1].heard+"hello")
	}
	wantReset(t, quiet)
	if _, err := io.Copy(io.Discard, idle); err == nil {
		t.Error("the idle client has read the end, want a reset")
	}
}

// A failingListener fails so many times with an error before it accepts.
type failingListener struct {
	net.Listener
	left atomic.Int64
	err  error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", l.err)}
	}
	return l.Listener.Accept()
}

func TestServeAcceptErrors(t *testing.T) {
	virtnettest.NoLeaks(t)
	for name, test := range map[string]struct {
		err   error
		times int64
		fails bool
	}{
		"no descriptors left, for a while": {syscall.EMFILE, 3, false},
		"for good":                         {syscall.EINVAL, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := &failingListener{Listener: inner, err: test.err}
			l.left.Store(test.times)
			var troubles atomic.Int64
			p := Config{Tell: func(e Event) {
				if e.Kind == Trouble && errors.Is(e.Err, test.err) {
					troubles.Add(1)
				}
			}}.New()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Serve(ctx, l) }()
			if !test.fails {
				c, err := net.Dial("tcp", inner.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400")
				if troubles.Load() != 1 {
					t.Errorf("told of trouble %d times, want once", troubles.Load())
				}
				cancel()
			}
			if err := <-ended; errors.Is(err, test.err) != test.fails || !test.fails && err != nil {
				t.Errorf("Serve returned %v", err)
			}
			cancel()
			if c, err := net.Dial("tcp", inner.Addr().String()); err == nil {
				c.Close()
				t.Error("it still listens")
			}
		})
	}
}

// What is there when the proxy ends is reset, whatever it is at.
func TestServeEnds(t *testing.T) {
	w := newWorld(t, Config{})
	begun := make(chan struct{}, 1)
	w.listen("80", func(c net.Conn) {
		begun <- struct{}{}
		io.Copy(io.Discard, c)
	})
	for _, words := range []string{"", "\x05\x01\x00", "GET http://α/", "GET http://α/ HTTP/1.1\r\nHost: x\r\n\r\n", "POST http://α/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nsome",
		connectTo("α", 80), socksTo("α", 80)} {
		c := w.connect()
		io.WriteString(c, words)
		if strings.Contains(words, "α") && len(words) > len("GET http://α/") {
			<-begun
		}
		defer func() {
			if _, err := io.Copy(io.Discard, c); err == nil {
				t.Errorf("%q: read the end, want a reset", words)
			}
		}()
	}
	w.until("all are in", func() bool {
		w.proxy.crowd.mu.Lock()
		defer w.proxy.crowd.mu.Unlock()
		return len(w.proxy.crowd.all) == 7
	})
	w.stop()
}

func TestQuiet(t *testing.T) {
	w := newWorld(t, Config{})
	w.proxy.Quiet(t.Context())
	c := w.connect()
	say(t, c, "\x05\x01\x00", "\x05\x00")
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	w.proxy.Quiet(soon)
	if soon.Err() == nil {
		t.Error("quiet while a client is there")
	}
	c.Close()
	w.proxy.Quiet(t.Context())
}
