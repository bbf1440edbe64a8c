package astranet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/internal/pipe"
)

// two are nodes in a bubble, with a link over a pipe. Their ids are 1 and 2, as the test says.
type two struct {
	*testing.T
	s, c   astranet.AstraNet // who listens, and who dials
	cut    func()
	serves chan struct{} // one value for each Attach that has returned
}

// inBubble runs f with two nodes, twice: the node with the lower id, which leads a session, listens, and dials.
func inBubble(t *testing.T, cs, cc astranet.Config, f func(w *two)) {
	for _, lower := range []string{"listens", "dials"} {
		t.Run("lower id "+lower, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cs.ID, cc.ID = 1, 2
				if lower == "dials" {
					cs.ID, cc.ID = 2, 1
				}
				w := &two{T: t, s: cs.New(), c: cc.New(), serves: make(chan struct{}, 100)}
				defer w.s.Close()
				defer w.c.Close()
				w.link()
				f(w)
			})
		})
	}
}

// link links the nodes.
func (w *two) link() {
	w.Helper()
	a, b := pipe.New(pipe.DefaultSize)
	w.cut = func() { a.Reset(); b.Reset() }
	for n, end := range map[astranet.AstraNet]net.Conn{w.s: a, w.c: b} {
		go func() {
			n.Attach(end)
			w.serves <- struct{}{}
		}()
	}
	synctest.Wait()
	if len(w.s.Routes()) != 1 || len(w.c.Routes()) != 1 {
		w.Fatalf("no link: %v, %v", w.s.Routes(), w.c.Routes())
	}
}

func (w *two) bind(n astranet.AstraNet, hp string) net.Listener {
	w.Helper()
	l, err := n.Bind("", hp)
	if err != nil {
		w.Fatal(err)
	}
	synctest.Wait()
	return l
}

// pair returns the ends of a connection to a service.
func (w *two) pair() (client, server net.Conn) {
	w.Helper()
	l := w.bind(w.s, "svc")
	defer l.Close()
	return w.connect(l)
}

func (w *two) connect(l net.Listener) (client, server net.Conn) {
	w.Helper()
	accepted := begin(l.Accept)
	client, err := w.c.Dial("", "svc")
	if err != nil {
		w.Fatal(err)
	}
	server, err = accepted.result(w)
	if err != nil {
		w.Fatal(err)
	}
	return client, server
}

// call is something that may take its time.
type call[T any] struct {
	done chan struct{}
	v    T
	err  error
}

func begin[T any](f func() (T, error)) *call[T] {
	c := &call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.v, c.err = f()
	}()
	return c
}

// result returns what a call has returned, after a day at most.
func (c *call[T]) result(t testing.TB) (T, error) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(24 * time.Hour):
		t.Error("a call does not return")
	}
	return c.v, c.err
}

// blocked checks that a call has not returned.
func (c *call[T]) blocked(t testing.TB) {
	t.Helper()
	synctest.Wait()
	select {
	case <-c.done:
		t.Errorf("a call has returned %v, %v, and should wait", c.v, c.err)
	default:
	}
}

// wantError checks an error's text, and what it is.
func wantError(t testing.TB, err error, text string, is ...error) {
	t.Helper()
	if fmt.Sprint(err) != text {
		t.Errorf("got error\n\t%v, want\n\t%s", err, text)
	}
	for _, target := range is {
		if !errors.Is(err, target) {
			t.Errorf("%v is no %v", err, target)
		}
	}
}

// wantCause checks the text of the cause in a *net.OpError, which must have that Op.
func wantCause(t testing.TB, err error, op, text string) {
	t.Helper()
	oe, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok:
		t.Errorf("got %v (%T), want a *net.OpError", err, err)
	case oe.Op != op || oe.Err.Error() != text:
		t.Errorf("got %s: %v, want\n%s: %s", oe.Op, oe.Err, op, text)
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// wantRead checks what comes on a connection.
func wantRead(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

func dialIn(n astranet.AstraNet, d time.Duration, network, hp string) *call[net.Conn] {
	return begin(func() (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return n.DialContext(ctx, network, hp)
	})
}
