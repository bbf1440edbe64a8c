package astranet_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// A Dial that fails says which node has failed it and why, and is one of the errors that are documented, and a standard one.
func TestDialErrors(t *testing.T) {
	inBubble(t, astranet.Config{Backlog: 1}, astranet.Config{}, func(w *two) {
		s, c := astranet.HostName(w.s.ID()), astranet.HostName(w.c.ID())
		port := uint64(1<<24 + 1)
		source := func() string { // the next Dial's
			defer func() { port++ }()
			return c + ":" + strconv.FormatUint(port, 10)
		}
		fails := func(hp, text string, is ...error) {
			w.Helper()
			want := "dial tcp " + source() + "->" + hp + ": " + text
			_, err := w.c.Dial("tcp", hp)
			wantError(w, err, want, is...)
			if is[0] != os.ErrDeadlineExceeded && is[len(is)-1] != os.ErrDeadlineExceeded && isTimeout(err) {
				w.Errorf("%v is a timeout", err)
			}
		}
		ended := " (context deadline exceeded)"

		// No such service.
		none := []error{astranet.ErrNoService, fs.ErrNotExist, context.DeadlineExceeded, os.ErrDeadlineExceeded}
		fails("nosuch", `no such service: "nosuch" on the node that this one is linked with`+ended, none...)
		l := w.bind(w.s, "svc:70")
		fails("svc:71", `no such service: "svc" at port 71 on the node that this one is linked with`+ended, none...)
		fails("AAAAAAAAAAM:70", `no such service: "AAAAAAAAAAM" at port 70, nor is a node with that id linked with this one`+ended, none...)
		own := w.bind(w.c, "own:5")
		fails("own", `no such service: "own" but on this node, which is not made WithLoopBack`+ended, none...)
		own.Close()

		// No route.
		fails(c+":1", "node "+c+": no route to host: it is this node, which is not made WithLoopBack", astranet.ErrNoRoute, syscall.EHOSTUNREACH)

		// Refused.
		fails(s+":9", "node "+s+": connection refused: nobody listens at port 9", astranet.ErrRefused, syscall.ECONNREFUSED)
		waits := dialIn(w.c, time.Hour, "tcp", "svc")
		waitsAt := source()
		waits.blocked(w)
		fails("svc", "node "+s+": connection refused: too many dials wait for an Accept", astranet.ErrRefused)
		l.Close()
		_, err := waits.result(w)
		wantError(w, err, "dial tcp "+waitsAt+"->svc: node "+s+": connection refused: the listener was closed", astranet.ErrRefused)

		// Timed out.
		l = w.bind(w.s, "svc")
		fails("svc", "node "+s+": context deadline exceeded: no Accept has taken the connection", context.DeadlineExceeded, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithCancel(context.Background())
		d := begin(func() (net.Conn, error) { return w.c.DialContext(ctx, "tcp", "svc") })
		at := source()
		d.blocked(w)
		cancel()
		_, err = d.result(w)
		wantError(w, err, "dial tcp "+at+"->svc: node "+s+": context canceled: no Accept has taken the connection", context.Canceled)
		at = source()
		_, err = w.c.DialContext(ctx, "tcp", "svc")
		wantError(w, err, "dial tcp "+at+"->svc: node "+s+": context canceled", context.Canceled)
		synctest.Wait()
		accept := begin(l.Accept) // finds nobody
		accept.blocked(w)

		// What is no address.
		for hp, text := range map[string]string{
			"svc:x":                  "dial tcp: address svc:x: invalid port",
			"svc:4294967296":         "dial tcp: address svc:4294967296: invalid port",
			"":                       "dial tcp: missing service or host",
			":70":                    "dial tcp: address :70: missing service or host",
			s:                        "dial tcp: address " + s + ": missing port",
			"a:b:1":                  "dial tcp: address a:b: a service name has no colon",
			"a\nb":                   `dial tcp: address "a\nb": a service name is UTF-8 that can be printed`,
			"a\xff":                  `dial tcp: address "a\xff": a service name is UTF-8 that can be printed`,
			strings.Repeat("x", 201): `dial tcp: address "` + strings.Repeat("x", 100) + `...": a service name has 200 bytes at most, its environment included`,
		} {
			_, err := w.c.Dial("tcp", hp)
			wantError(w, err, text)
			if _, ok := errors.AsType[*net.AddrError](err); !ok {
				w.Errorf("%v is no *net.AddrError", err)
			}
		}

		// The node is closed.
		w.c.Close()
		_, err = w.c.Dial("tcp", "svc")
		wantError(w, err, "dial tcp "+source()+"->svc: node is closed", astranet.ErrNodeClosed, net.ErrClosed)
		w.s.Close()
		if _, err := accept.result(w); !errors.Is(err, astranet.ErrNodeClosed) {
			w.Errorf("got %v", err)
		}
	})
}

// A node that was never linked says so; and one whose neighbour has gone that it waits for the service.
func TestDialWithoutLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := astranet.Config{ID: 1}.New()
		defer n.Close()
		_, err := n.Dial("", "svc")
		wantError(t, err, `dial AAAAAAAAAAE:16777217->svc: no such service: "svc", and no link with another node (context deadline exceeded)`,
			astranet.ErrNoService)
	})
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		host := astranet.HostName(w.s.ID())
		c, _ := w.pair()
		w.cut()
		synctest.Wait()
		_, err := w.c.Dial("", host+":70") // it is known, since there is a session
		wantCause(w, err, "dial", "node "+host+": no route to host (context deadline exceeded)")
		if !errors.Is(err, astranet.ErrNoRoute) || !isTimeout(err) {
			w.Errorf("got %v", err)
		}
		c.Close()
	})
}

// A Dial waits for the service, and for the node.
func TestDialWaits(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		d := dialIn(w.c, time.Hour, "", "svc")
		d.blocked(w)
		w.cut()
		time.Sleep(time.Minute)
		d.blocked(w)
		l := w.bind(w.s, "svc")
		d.blocked(w)
		w.link()
		d.blocked(w)
		if _, err := l.Accept(); err != nil {
			w.Fatal(err)
		}
		if _, err := d.result(w); err != nil {
			w.Error(err)
		}
	})
}

// A dial whose service has moved to another port, or node, finds it.
func TestDialMoved(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		l := w.bind(w.s, "svc:70")
		w.connect(l)
		l.Close()
		other, err := w.s.Bind("", "other:70") // what the client does not know yet
		if err != nil {
			w.Fatal(err)
		}
		d := dialIn(w.c, time.Hour, "", "svc")
		d.blocked(w)
		moved := w.bind(w.s, "svc:71")
		a := begin(moved.Accept)
		if _, err := d.result(w); err != nil {
			w.Error(err)
		}
		if _, err := a.result(w); err != nil {
			w.Error(err)
		}
		other.Close()
	})
}

// Dials that were given up do not count in the queue of a listener, and no Accept sees them.
func TestDialsGivenUp(t *testing.T) {
	inBubble(t, astranet.Config{Backlog: 4}, astranet.Config{}, func(w *two) {
		l := w.bind(w.s, "svc")
		for range 10 {
			for range 4 {
				_, err := w.c.DialTimeout("", "svc", time.Second)
				if !isTimeout(err) {
					w.Fatal(err)
				}
			}
		}
		d := dialIn(w.c, time.Second, "", "svc")
		d.blocked(w)
		s, err := l.Accept()
		if err != nil {
			w.Fatal(err)
		}
		c, err := d.result(w)
		if err != nil {
			w.Fatal(err)
		}
		c.Write([]byte("it is me"))
		wantRead(w, s, "it is me")
	})
}

// A Dial does not return before an Accept has taken the connection.
func TestDialAwaitsAccept(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		l := w.bind(w.s, "svc")
		d := dialIn(w.c, time.Hour, "", "svc")
		d.blocked(w)
		time.Sleep(30 * time.Minute)
		d.blocked(w)
		s, err := l.Accept()
		if err != nil {
			w.Fatal(err)
		}
		c, err := d.result(w)
		if err != nil {
			w.Fatal(err)
		}
		// What the listener writes at once follows the answer.
		s.Write([]byte("hello"))
		s.Close()
		if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
			w.Errorf("got %q, %v", b, err)
		}
	})
}
