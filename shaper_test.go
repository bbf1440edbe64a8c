package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// spy is an Emulator that notes what it is asked, in the events of a fake, and does what a test says.
type spy struct {
	f         *fake
	out, back error
	late      bool // connections are shaped when a test says so
	attached  func(from string, to func(host string) bool)
	conns     []*spied
}

func (s *spy) Attach(n *virtnet.SubNetwork, shape func(from string, to func(host string) bool)) virtnet.Shaper {
	s.attached = shape
	return s
}

func (s *spy) shape(from, to string) { s.attached(from, func(host string) bool { return host == to }) }

func (s *spy) DialOut(ctx context.Context, src, dst *virtnet.Addr) (uint64, error) {
	s.f.note(fmt.Sprintf("out %v %v", src, dst))
	return 7, s.out
}

func (s *spy) DialBack(ctx context.Context, src, dst *virtnet.Addr, number uint64, dialErr error) error {
	if number != 7 {
		s.f.note(fmt.Sprint("number ", number))
	}
	s.f.note(fmt.Sprintf("back %v %v %v", src, dst, dialErr))
	return s.back
}

func (s *spy) NoHost(ctx context.Context, src, dst *virtnet.Addr, err error) error {
	s.f.note(fmt.Sprintf("no host %v %v", src, dst))
	return err
}

func (s *spy) Conn(c *virtnet.Conn, dialled bool) (uint64, virtnet.Shaped) {
	s.f.mu.Lock()
	number := uint64(len(s.conns))
	s.conns = append(s.conns, &spied{Conn: c.NetConn(), made: fmt.Sprintf("%v->%v %v", c.LocalAddr(), c.RemoteAddr(), dialled)})
	s.f.mu.Unlock()
	if s.late {
		return number, nil
	}
	return number, s.Shape(c, number)
}

func (s *spy) Shape(c *virtnet.Conn, number uint64) virtnet.Shaped {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.conns[number].shaped++
	return s.conns[number]
}

func (s *spy) Down() { s.f.note("down") }

// spied is what the spy puts before a carrier: it remembers how it was made, and what was written.
type spied struct {
	net.Conn
	made   string
	shaped int // how often

	mu      sync.Mutex
	written string
	closed  int
}

func (c *spied) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += string(p)
	return len(p), nil
}

func (c *spied) Close() error {
	c.mu.Lock()
	c.closed++
	c.mu.Unlock()
	return c.Conn.Close()
}

func (c *spied) CloseWrite() error { return errors.New("no half close") }

func (c *spied) Cause(err error, reading bool) error {
	return fmt.Errorf("%w, reading %v", err, reading)
}

// find returns the connection that was made so.
func (s *spy) find(t *testing.T, made string) *spied {
	t.Helper()
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	for _, c := range s.conns {
		if c.made == made {
			return c
		}
	}
	t.Fatalf("no connection %q", made)
	return nil
}

func newSpied(t *testing.T) (*spy, *fake) {
	s := &spy{}
	f := newFake(t, virtnet.Config{Emulator: s})
	s.f = f
	return s, f
}

// Both ends of a connection go through what the Shaper puts before their carriers, and it knows the addresses that the
// connection has in the end.
func TestShaperConn(t *testing.T) {
	s, f := newSpied(t)
	a := f.host("a")
	_, l := f.listen("b")
	c, d := f.connect(a, l)
	f.wantEvents("out a:1 b:1", "back a:1 b:1 <nil>")
	for _, x := range []struct {
		conn net.Conn
		made string
	}{{c, "a:1->b:2 true"}, {d, "b:2->a:1 false"}} {
		if _, err := x.conn.Write([]byte("hello")); err != nil || s.find(t, x.made).written != "hello" {
			t.Errorf("%s: Write: %v, and the Shaper gets %q", x.made, err, s.find(t, x.made).written)
		}
	}
	if err := f.SubNetwork.Close(); err != nil {
		t.Error(err)
	}
	f.wantEvents("down", "close engine", "close registry")
	for _, x := range s.conns {
		if x.closed != 1 {
			t.Errorf("%s is closed %d times", x.made, x.closed)
		}
	}
	if err := c.SetReadDeadline(time.Now()); !errors.Is(err, virtnet.ErrNetDown) {
		t.Errorf("SetReadDeadline after Close: %v", err)
	}
}

// A connection that Conn has nothing for is shaped later: when the Shaper says so, which is for one way between two hosts; when its
// Writes get a deadline or an end; or when its carrier fails. It is so once, and not when it is closed.
func TestShaperShape(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(t *testing.T, s *spy, c net.Conn)
		want string // how often the dialled and the accepted end are shaped
	}{
		{"nothing", func(t *testing.T, s *spy, c net.Conn) {}, "0 0"},
		{"shape", func(t *testing.T, s *spy, c net.Conn) { s.shape("a", "b"); s.shape("a", "b") }, "1 0"},
		{"the other way", func(t *testing.T, s *spy, c net.Conn) { s.shape("b", "a") }, "0 1"},
		{"other hosts", func(t *testing.T, s *spy, c net.Conn) { s.shape("a", "c"); s.shape("c", "a"); s.shape("a", "a") }, "0 0"},
		{"read deadline", func(t *testing.T, s *spy, c net.Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Hour)) }, "0 0"},
		{"write deadline", func(t *testing.T, s *spy, c net.Conn) { _ = c.SetDeadline(time.Now().Add(time.Hour)) }, "1 0"},
		{"half close", func(t *testing.T, s *spy, c net.Conn) {
			if err := c.(*virtnet.Conn).CloseWrite(); err == nil || !strings.Contains(err.Error(), "no half close") {
				t.Errorf("CloseWrite: %v, want what the Shaper says", err)
			}
		}, "1 0"},
		{"failure", func(t *testing.T, s *spy, c net.Conn) {
			_ = c.(*virtnet.Conn).NetConn().Close()
			if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), ", reading true") {
				t.Errorf("Read: %v, want what the Shaper says", err)
			}
		}, "1 0"},
		{"closed", func(t *testing.T, s *spy, c net.Conn) { _ = c.Close(); s.shape("a", "b") }, "0 0"},
		{"host closed", func(t *testing.T, s *spy, c net.Conn) {
			_ = s.f.Host("a").Close()
			s.shape("a", "b")
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, virtnet.ErrHostDown) {
				t.Errorf("Read: %v", err)
			}
		}, "0 0"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, f := newSpied(t)
			s.late = true
			a := f.host("a")
			_, l := f.listen("b")
			c, _ := f.connect(a, l)
			x.do(t, s, c)
			if got := fmt.Sprint(s.find(t, "a:1->b:2 true").shaped, s.find(t, "b:2->a:1 false").shaped); got != x.want {
				t.Errorf("shaped %s times, want %s", got, x.want)
			}
			_ = c.Close()
		})
	}
}

// What the Shaper says of a dial is what becomes of it, unless the engine has failed already.
func TestShaperDial(t *testing.T) {
	errOut, errBack, errEngine := errors.New("lost on the way"), errors.New("lost on the way back"), errors.New("engine's")
	for _, x := range []struct {
		name              string
		out, back, engine error
		want              error
		events            []string
		closed            bool // the carrier was made, and closed
	}{
		{"out", errOut, nil, nil, errOut, []string{"out a:1 b:1"}, false},
		{"back", nil, errBack, nil, errBack, []string{"out a:1 b:1", "back a:1 b:1 <nil>"}, true},
		{"engine", nil, nil, errEngine, errEngine, []string{"out a:1 b:1", "back a:1 b:1 engine's"}, false},
		{"engine and back", nil, errBack, errEngine, errEngine, []string{"out a:1 b:1", "back a:1 b:1 engine's"}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, f := newSpied(t)
			s.out, s.back = x.out, x.back
			carrier := newCarrier()
			f.dial = func(ctx context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error) {
				if x.engine != nil {
					return nil, nil, x.engine
				}
				return carrier, nil, nil
			}
			a := f.host("a")
			f.host("b")
			_, err := a.Dial(t.Context(), "b:1")
			if oe, ok := errors.AsType[*net.OpError](err); !ok || oe.Err != x.want {
				t.Errorf("Dial: %v, want %v", err, x.want)
			}
			f.wantEvents(x.events...)
			if carrier.isClosed() != x.closed {
				t.Errorf("the carrier is closed: %v, want %v", carrier.isClosed(), x.closed)
			}
			f.wantFree(a, 1)
			want := 0
			if x.closed { // by way of the Shaper, which may have to hold that
				want = 1
			}
			if len(s.conns) != want {
				t.Errorf("%d connections were shaped, want %d", len(s.conns), want)
			}
		})
	}
}

// What the Shaper says of a name that nobody has is what becomes of the dial.
func TestShaperNoHost(t *testing.T) {
	_, f := newSpied(t)
	if _, err := f.host("a").Dial(t.Context(), "nobody:1"); !errors.Is(err, virtnet.ErrNoHost) {
		t.Errorf("Dial: %v", err)
	}
	f.wantEvents("no host a:1 nobody:1")
}
