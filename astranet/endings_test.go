package astranet_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// goesOn stands for an operation that what has happened does not end.
const goesOn = ""

// scene is what operations are done on.
type scene struct {
	*two
	l           net.Listener // on s
	conn, other net.Conn     // from c to s
}

// operations are what a user does, and on what; each waits.
var operations = []struct {
	name, op string
	own      func(*scene) (closer io.Closer, node, other astranet.AstraNet)
	do       func(*scene) error
}{
	{"dial for a service", "dial", dialler, func(sc *scene) error { return sc.dial("nosuch") }},
	{"dial for an accept", "dial", dialler, func(sc *scene) error { return sc.dial("svc") }},
	{"accept", "accept", func(sc *scene) (io.Closer, astranet.AstraNet, astranet.AstraNet) { return sc.l, sc.s, sc.c }, func(sc *scene) error {
		_, err := sc.l.Accept()
		return err
	}},
	{"read at the dialler", "read", dialled, func(sc *scene) error { return read(sc.conn) }},
	{"write at the dialler", "write", dialled, func(sc *scene) error { return fill(sc.conn) }},
	{"read at the listener", "read", taken, func(sc *scene) error { return read(sc.other) }},
	{"write at the listener", "write", taken, func(sc *scene) error { return fill(sc.other) }},
}

func dialler(sc *scene) (io.Closer, astranet.AstraNet, astranet.AstraNet) { return nil, sc.c, sc.s }
func dialled(sc *scene) (io.Closer, astranet.AstraNet, astranet.AstraNet) { return sc.conn, sc.c, sc.s }
func taken(sc *scene) (io.Closer, astranet.AstraNet, astranet.AstraNet)   { return sc.other, sc.s, sc.c }

func (sc *scene) dial(hp string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, err := sc.c.DialContext(ctx, "", hp)
	if err == nil {
		c.Close()
	}
	return err
}

func read(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

// fill writes until nothing goes any more.
func fill(c net.Conn) error {
	for b := make([]byte, 64<<10); ; {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// endings are what can go down, and what operations return then: the text of the cause, goesOn, or what of says of an operation.
var endings = []struct {
	name string
	down func(*scene, io.Closer, astranet.AstraNet, astranet.AstraNet)
	want string
	of   map[string]string
}{
	{"its own", func(_ *scene, c io.Closer, _, _ astranet.AstraNet) {
		if c != nil {
			c.Close()
		}
	}, "use of closed network connection", map[string]string{"dial for a service": goesOn, "dial for an accept": goesOn}},
	{"deadline", func(_ *scene, c io.Closer, _, _ astranet.AstraNet) {
		if c, ok := c.(net.Conn); ok {
			c.SetDeadline(time.Now().Add(-1))
		}
	}, "i/o timeout", map[string]string{"dial for a service": goesOn, "dial for an accept": goesOn, "accept": goesOn}},
	{"own node", func(_ *scene, _ io.Closer, own, _ astranet.AstraNet) { own.Close() }, "node is closed", nil},
	{"other node", func(_ *scene, _ io.Closer, _, other astranet.AstraNet) { other.Close() },
		"node OTHER: connection lost: the node was closed", map[string]string{
			"accept":             goesOn,
			"dial for a service": `no such service: "nosuch", and no link with another node (context deadline exceeded)`,
			"dial for an accept": "node OTHER: connection refused: the listener was closed",
		}},
	{"the link, for a moment", func(sc *scene, _ io.Closer, _, _ astranet.AstraNet) {
		sc.cut()
		time.Sleep(20 * time.Second)
		sc.link()
	}, goesOn, nil},
	{"the link, for long", func(sc *scene, _ io.Closer, _, _ astranet.AstraNet) {
		sc.cut()
		time.Sleep(31 * time.Second)
	}, "node OTHER: connection lost: no link to it for 30s", map[string]string{
		"accept":             goesOn,
		"dial for a service": `no such service: "nosuch", and no link with another node (context deadline exceeded)`,
		"dial for an accept": `no such service: "svc", and no link with another node (context deadline exceeded)`,
	}},
}

// What waits when something goes down ends, at once, with an error that says why; and what comes later returns the same, except
// where a dial finds that the service has gone.
func TestEndings(t *testing.T) {
	for _, op := range operations {
		for _, end := range endings {
			want, ok := end.of[op.name]
			if !ok {
				want = end.want
			}
			t.Run(op.name+"/"+end.name, func(t *testing.T) {
				inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
					sc := &scene{two: w, l: w.bind(w.s, "svc")}
					sc.conn, sc.other = w.connect(sc.l)
					closer, own, other := op.own(sc)
					during := begin(func() (any, error) { return nil, op.do(sc) })
					during.blocked(w)
					down := time.Now()
					end.down(sc, closer, own, other)
					synctest.Wait()
					if want == goesOn {
						during.blocked(w)
						sc.checkOn(op.name, during)
						return
					}
					text := replaceOther(want, other)
					_, err := during.result(w)
					wantCause(w, err, op.op, text)
					if op.op != "dial" && time.Since(down) > 32*time.Second {
						w.Errorf("it took %v", time.Since(down))
					}
					_, err = begin(func() (any, error) { return nil, op.do(sc) }).result(w)
					if end.name == "other node" && op.op == "dial" {
						text = `no such service: "` + map[bool]string{true: "svc", false: "nosuch"}[op.name == "dial for an accept"] +
							`", and no link with another node (context deadline exceeded)`
					}
					wantCause(w, err, op.op, text)
					sc.checkStandard(err, end.name, op.op)
				})
			})
		}
	}
}

func replaceOther(text string, other astranet.AstraNet) string {
	if i := len("node "); len(text) > i && text[:i] == "node " && text[i:i+5] == "OTHER" {
		return "node " + astranet.HostName(other.ID()) + text[i+5:]
	}
	return text
}

// checkOn ends an operation that goes on.
func (sc *scene) checkOn(name string, during *call[any]) {
	switch name {
	case "accept":
		sc.l.Close()
	case "dial for a service":
		_, err := during.result(sc)
		if !errors.Is(err, astranet.ErrNoService) {
			sc.Errorf("got %v", err)
		}
		return
	case "dial for an accept":
		if _, err := sc.l.Accept(); err != nil {
			sc.Errorf("accept: %v", err)
		}
		if _, err := during.result(sc); err != nil {
			sc.Errorf("dial: %v", err)
		}
		return
	case "read at the dialler":
		sc.other.Write([]byte("x"))
		if _, err := during.result(sc); err != nil {
			sc.Error(err)
		}
		return
	case "read at the listener":
		sc.conn.Write([]byte("x"))
		if _, err := during.result(sc); err != nil {
			sc.Error(err)
		}
		return
	default:
		sc.conn.Close()
		sc.other.Close()
	}
	if _, err := during.result(sc); !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
		sc.Errorf("got %v", err)
	}
}

// checkStandard checks which standard errors an error is.
func (sc *scene) checkStandard(err error, ending, op string) {
	is := map[error]bool{net.ErrClosed: false, syscall.ECONNRESET: false, os.ErrDeadlineExceeded: false}
	switch {
	case ending == "its own", ending == "own node":
		is[net.ErrClosed] = true
	case op == "dial", ending == "deadline":
		is[os.ErrDeadlineExceeded] = true
	default:
		is[syscall.ECONNRESET] = true
	}
	for target, want := range is {
		if errors.Is(err, target) != want {
			sc.Errorf("%v: is it %v? %v", err, target, !want)
		}
	}
	if want := is[os.ErrDeadlineExceeded]; isTimeout(err) != want {
		sc.Errorf("%v: is it a timeout? %v", err, !want)
	}
}

// A Close of the other end of a connection is seen at once, behind what was written, and half closes are what they are with TCP.
func TestConnEnds(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		c, s := w.pair()
		c.Write([]byte("last words"))
		w.halfClose(c)
		if b, err := io.ReadAll(s); string(b) != "last words" || err != nil {
			w.Errorf("got %q, %v", b, err)
		}
		_, err := c.Write([]byte("x"))
		wantCause(w, err, "write", "use of closed network connection")
		s.Write([]byte("answer"))
		s.Close()
		if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
			w.Errorf("got %q, %v", b, err)
		}
		c.Close()
		if err := c.Close(); err != nil {
			w.Errorf("a second Close: %v", err)
		}

		c, s = w.pair()
		r := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
		r.blocked(w)
		begun := time.Now()
		c.Close()
		_, err = r.result(w)
		wantCause(w, err, "read", "use of closed network connection")
		if took := time.Since(begun); took != 0 {
			w.Errorf("the Read that Close ends takes %v", took)
		}
		synctest.Wait()
		_, err = s.Write([]byte("x"))
		if !errors.Is(err, syscall.EPIPE) || !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			w.Errorf("write to who has closed: %v", err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			w.Errorf("read from who has closed: %d, %v", n, err)
		}
	})
}

func (w *two) halfClose(c net.Conn) {
	w.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		w.Error(err)
	}
}

// Time-outs are net.Errors, and not for ever.
func TestDeadlines(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		c, s := w.pair()
		for name, f := range map[string]func() error{"read": func() error { return read(c) }, "write": func() error { return fill(c) }} {
			c.SetDeadline(time.Now().Add(time.Second))
			begun := time.Now()
			err := f()
			wantCause(w, err, name, "i/o timeout")
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				w.Errorf("%v is no timeout", err)
			}
			if took := time.Since(begun); took != time.Second {
				w.Errorf("%s took %v", name, took)
			}
		}
		c.SetDeadline(time.Time{})
		s.Write([]byte("late"))
		wantRead(w, c, "late")
	})
}

// A link that is lost and comes back costs nothing but time: whatever was on its way, in both directions, arrives once.
func TestLinkComesBack(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		const size = 8 << 20
		c, s := w.pair()
		var seed [32]byte
		copy(seed[:], w.Name())
		send := func(c net.Conn, salt byte) *call[[32]byte] {
			return begin(func() (sum [32]byte, err error) {
				from := seed
				from[31] = salt
				data := make([]byte, size)
				rand.NewChaCha8(from).Read(data)
				_, err = c.Write(data)
				w.halfClose(c)
				return sha256.Sum256(data), err
			})
		}
		receive := func(c net.Conn) *call[[32]byte] {
			return begin(func() (sum [32]byte, err error) {
				h := sha256.New()
				buf := make([]byte, 10_000)
				for {
					n, err := c.Read(buf)
					h.Write(buf[:n])
					if err != nil {
						if err == io.EOF {
							err = nil
						}
						return [32]byte(h.Sum(nil)), err
					}
					time.Sleep(50 * time.Millisecond) // 40 s in all
				}
			})
		}
		from, to := []*call[[32]byte]{send(c, 1), send(s, 2)}, []*call[[32]byte]{receive(s), receive(c)}
		for i := range 4 {
			time.Sleep(time.Duration(i+1) * 1234 * time.Millisecond)
			w.cut()
			time.Sleep(time.Duration(i) * 9 * time.Second) // the last for 27 s
			synctest.Wait()
			w.link()
		}
		for i := range from {
			sent, err := from[i].result(w)
			if err != nil {
				w.Fatal(err)
			}
			if got, err := to[i].result(w); got != sent || err != nil {
				w.Errorf("direction %d: what has arrived is not what was sent: %v", i, err)
			}
		}
	})
}

// A session that nothing goes on in ends, and another is made when it is needed, also if a dial comes just then.
func TestIdleSession(t *testing.T) {
	for _, early := range []time.Duration{0, 1, time.Microsecond, time.Millisecond, time.Second} {
		t.Run(fmt.Sprint(early), func(t *testing.T) {
			inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
				l := w.bind(w.s, "svc")
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						go func() {
							io.Copy(c, c)
							c.Close()
						}()
					}
				}()
				back := w.bind(w.c, "back")
				go func() {
					for {
						c, err := back.Accept()
						if err != nil {
							return
						}
						c.Write([]byte("ok"))
						c.Close()
					}
				}()
				begun := time.Now()
				for round := range 6 {
					time.Sleep(time.Until(begun.Add(time.Duration(round)*2*time.Minute - early)))
					one := begin(func() (net.Conn, error) { return w.s.Dial("", "back") })
					c, err := w.c.Dial("", "svc")
					if err != nil {
						w.Fatal(err)
					}
					c.Write([]byte("echo"))
					wantRead(w, c, "echo")
					c.Close()
					b, err := one.result(w)
					if err != nil {
						w.Fatal(err)
					}
					wantRead(w, b, "ok")
					b.Close()
				}
				time.Sleep(5 * time.Minute)
				if n := astranet.Sessions(w.s) + astranet.Sessions(w.c); n != 0 {
					w.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// CloseWrite says when the end cannot be told.
func TestCloseWriteEnded(t *testing.T) {
	for name, k := range map[string]struct {
		down func(w *two, c net.Conn)
		want string
	}{
		"conn":       {func(_ *two, c net.Conn) { c.Close() }, "use of closed network connection"},
		"own node":   {func(w *two, _ net.Conn) { w.c.Close() }, "node is closed"},
		"other node": {func(w *two, _ net.Conn) { w.s.Close() }, "node OTHER: connection lost: the node was closed"},
		"the link": {func(w *two, _ net.Conn) {
			w.cut()
			time.Sleep(31 * time.Second)
		}, "node OTHER: connection lost: no link to it for 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
				c, _ := w.pair()
				k.down(w, c)
				synctest.Wait()
				wantCause(w, c.(interface{ CloseWrite() error }).CloseWrite(), "close", replaceOther(k.want, w.s))
				if err := c.Close(); err != nil {
					w.Errorf("Close: %v", err)
				}
			})
		})
	}
}

// A node that is another process with the same id ends the connections of the one before, at once.
func TestRestarted(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		l := w.bind(w.s, "svc")
		c, _ := w.connect(l)
		r := begin(func() (any, error) { return nil, read(c) })
		r.blocked(w)
		w.cut()
		synctest.Wait()
		before := w.s
		w.s = astranet.Config{ID: before.ID()}.New()
		defer w.s.Close()
		begun := time.Now()
		w.link()
		_, err := r.result(w)
		wantCause(w, err, "read", replaceOther("node OTHER: connection lost: the node has been restarted", w.s))
		if took := time.Since(begun); took > time.Second {
			w.Errorf("it took %v", took)
		}
		w.connect(w.bind(w.s, "svc"))
		before.Close()
	})
}

// The death of the other process ends connections with it after Grace, and its services at once.
func TestProcessKilled(t *testing.T) {
	n, address := listening(t, astranet.Config{ID: 1, Grace: 500 * time.Millisecond})
	p := relayParams{Join: address, Dir: t.TempDir()}
	taken, err := net.Listen("unix", filepath.Join(p.Dir, "taken"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	kill := startRelay(t, p)
	c, err := n.DialTimeout("", "there", patience)
	if err != nil {
		t.Fatal(err)
	}
	other := c.RemoteAddr().(*astranet.Addr).Host
	errs := make(chan error, 2)
	go func() { errs <- read(c) }()
	go func() { errs <- fill(c) }()
	kill()
	for range 2 {
		select {
		case err := <-errs:
			oe, ok := errors.AsType[*net.OpError](err)
			want := "node " + astranet.HostName(other) + ": connection lost: no link to it for 500ms"
			if !ok || oe.Err.Error() != want || !errors.Is(err, astranet.ErrLost) {
				t.Errorf("got %v, want %s", err, want)
			}
		case <-time.After(patience):
			t.Fatal("an operation on a connection with a process that is no more does not end")
		}
	}
	if all := n.Services(); len(all) != 0 {
		t.Errorf("its services are still there: %v", all)
	}
}

// The mesh reaches what is bound, and nothing else of the process: no debugging pages.
func TestNothingElseServed(t *testing.T) {
	r, err := http.NewRequest("GET", "/debug/pprof/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, pattern := http.DefaultServeMux.Handler(r); pattern != "" {
		t.Errorf("the package brings %s", pattern)
	}
	s, c := linked(t, astranet.Config{}, astranet.Config{})
	if all := c.Services(); len(all) != 0 {
		t.Errorf("a node that has bound nothing has %v", all)
	}
	if _, err := c.Dial("", astranet.HostName(s.ID())+":1"); !errors.Is(err, astranet.ErrRefused) {
		t.Errorf("port 1: %v", err)
	}
}
