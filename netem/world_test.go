package netem_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

const ms = time.Millisecond

// world is a pipenet with a Net, in a bubble.
type world struct {
	*testing.T
	em  *netem.Net
	net *pipenet.Network
	ctx context.Context
}

// run runs f in a bubble.
func run(t *testing.T, buffer int, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, em: netem.New(1), ctx: t.Context()}
		w.net = pipenet.Config{Emulator: w.em, Buffer: buffer}.New("test")
		defer func() {
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(w)
	})
}

// set sets the rules of the link from a to b.
func (w *world) set(a, b string, r netem.Rules) {
	w.Helper()
	if err := w.em.Link(a, b).Set(r); err != nil {
		w.Fatal(err)
	}
}

// pair connects a to b.
func (w *world) pair(a, b string) (dialled, accepted net.Conn) {
	w.Helper()
	l, err := w.net.Host(b).Listen(w.ctx, "")
	if err != nil {
		w.Fatal(err)
	}
	defer l.Close()
	got := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept(w.ctx)
		if err != nil {
			w.Error(err)
		}
		got <- c
	}()
	c, err := w.net.Host(a).Dial(w.ctx, l.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	return c, <-got
}

// serve accepts on b, for ever, and returns the address.
func (w *world) serve(b string) string {
	w.Helper()
	l, err := w.net.Host(b).Listen(w.ctx, "")
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		for {
			if _, err := l.Accept(w.ctx); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

// dial dials addr from a host, and gives up after a day.
func (w *world) dial(from, addr string) (net.Conn, time.Duration, error) {
	ctx, cancel := context.WithTimeout(w.ctx, 24*time.Hour)
	defer cancel()
	began := time.Now()
	c, err := w.net.Host(from).Dial(ctx, addr)
	return c, time.Since(began), err
}

// write writes p to c, and wants that not to take any time.
func (w *world) write(c net.Conn, p string) {
	w.Helper()
	began := time.Now()
	if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
		w.Errorf("Write of %d bytes: %d, %v", len(p), n, err)
	}
	w.took("Write", time.Since(began), 0)
}

// arrives reads want from c and tells how long that took.
func (w *world) arrives(c net.Conn, want string) time.Duration {
	w.Helper()
	began := time.Now()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		w.Errorf("read %d bytes, %.20q, %v, want %.20q", n, got[:n], err, want)
	}
	return time.Since(began)
}

// nothing checks that nothing arrives at c within an hour.
func (w *world) nothing(c net.Conn) {
	w.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Hour))
	if n, err := c.Read(make([]byte, 100)); n > 0 || !isTimeout(err) {
		w.Errorf("Read: %d, %v, want nothing for an hour", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// ends reads from c, wants nothing but that error, and tells how long that took.
func (w *world) ends(c net.Conn, want error) time.Duration {
	w.Helper()
	began := time.Now()
	if n, err := c.Read(make([]byte, 100)); n > 0 || !errors.Is(err, want) {
		w.Errorf("Read: %d, %v, want %v", n, err, want)
	}
	return time.Since(began)
}

func (w *world) took(what string, got, want time.Duration) {
	w.Helper()
	if got != want {
		w.Errorf("%s took %v, want %v", what, got, want)
	}
}

func (w *world) state(a, b string, want netem.State) {
	w.Helper()
	synctest.Wait()
	if got := w.em.Link(a, b).State(); got != want {
		w.Errorf("State of %s to %s: %+v, want %+v", a, b, got, want)
	}
}
