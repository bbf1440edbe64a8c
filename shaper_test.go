package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/virtnet/virtnet"
)

// spy is an Emulator that notes what it is asked, in the events of a fake, and does what a test says.
type spy struct {
	f         *fake
	out, back error
	conns     []*spied
}

func (s *spy) Attach(network string) virtnet.Shaper { return s }

func (s *spy) DialOut(ctx context.Context, src, dst *virtnet.Addr) error {
	s.f.note(fmt.Sprintf("out %v %v", src, dst))
	return s.out
}

func (s *spy) DialBack(ctx context.Context, src, dst *virtnet.Addr, dialErr error) error {
	s.f.note(fmt.Sprintf("back %v %v %v", src, dst, dialErr))
	return s.back
}

func (s *spy) Conn(carrier net.Conn, local, remote *virtnet.Addr, dialled bool) net.Conn {
	c := &spied{carrier, fmt.Sprintf("%v->%v %v", local, remote, dialled)}
	s.f.mu.Lock()
	s.conns = append(s.conns, c)
	s.f.mu.Unlock()
	return c
}

func (s *spy) Down() { s.f.note("down") }

// spied is a connection that the spy has shaped: it remembers how it was made.
type spied struct {
	net.Conn
	made string
}

func newSpied(t *testing.T) (*spy, *fake) {
	s := &spy{}
	f := newFake(t, virtnet.Config{Emulator: s})
	s.f = f
	return s, f
}

// Both ends of a connection run on what the Shaper makes of their carriers, and it knows the addresses that the connection
// has in the end.
func TestShaperConn(t *testing.T) {
	_, f := newSpied(t)
	a := f.host("a")
	_, l := f.listen("b")
	c, d := f.connect(a, l)
	f.wantEvents("out a:1 b:1", "back a:1 b:1 <nil>")
	for _, x := range []struct {
		conn net.Conn
		want string
	}{{c, "a:1->b:2 true"}, {d, "b:2->a:1 false"}} {
		got, ok := x.conn.(*virtnet.Conn).NetConn().(*spied)
		if !ok || got.made != x.want {
			t.Errorf("the carrier is %#v, want one shaped as %q", got, x.want)
		}
	}
	if err := f.SubNetwork.Close(); err != nil {
		t.Error(err)
	}
	f.wantEvents("down", "close engine", "close registry")
	if _, err := c.Write([]byte("x")); !errors.Is(err, virtnet.ErrNetDown) {
		t.Errorf("Write after Close: %v", err)
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
			if len(s.conns) != 0 {
				t.Errorf("%d connections were shaped, want none", len(s.conns))
			}
		})
	}
}

// A name that nobody has is not dialled: the Shaper does not hear of it.
func TestShaperNoHost(t *testing.T) {
	_, f := newSpied(t)
	if _, err := f.host("a").Dial(t.Context(), "nobody:1"); !errors.Is(err, virtnet.ErrNoHost) {
		t.Errorf("Dial: %v", err)
	}
	f.wantEvents()
}
