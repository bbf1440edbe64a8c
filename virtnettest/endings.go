package virtnettest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// endingClauses has each ending, seen from the end that dialled and from the one that accepted.
func endingClauses() []clause {
	const why = ": whatever goes down interrupts at once what is blocked on it, fails what comes later, and is the cause of both errors; the widest thing that is down names the error"
	var all []clause
	for _, e := range endings {
		all = append(all,
			clause{name: "EndOf/" + e.name + "/dialler", why: e.name + why, run: func(w *world) { e.test(w, true) }},
			clause{name: "EndOf/" + e.name + "/acceptor", why: e.name + why, run: func(w *world) { e.test(w, false) }})
	}
	return append(all, clause{
		name: "EndOfOwnIsNoEOF",
		why:  "an operation whose own connection, host or network went down reports that, not the EOF or the reset that the shutdown itself causes",
		run:  testEndIsNoEOF,
	})
}

// scene is one end of two connections with all that can go down around it.
type scene struct {
	*world
	own, peer end
}

// end is one side of the scene.
type end struct {
	host    *virtnet.Host
	sub     *virtnet.SubNetwork
	l       xnet.Listener
	in, out net.Conn // one for reading, one for writing
}

// An ending is something that goes down, or several things one after the other, and what that does to each
// operation of the own end: the cause of its error, or nil if the operation isn't affected.
type ending struct {
	name string
	end  []func(s *scene) error

	read      error // on own.in, to which the peer writes nothing
	write     error // on own.out, from which the peer reads nothing
	dial      error // to peer.l, on which nobody accepts
	dialLater error // if it is another one than dial
	accept    error // on own.l, which nobody dials
	listen    error // on own.host; later only
	newHost   error // on own.sub; later only

	// two says that with one sub-network this is another ending.
	two bool
}

var endings = []ending{{
	name: "connection",
	end:  []func(s *scene) error{ownConns},
	read: virtnet.ErrSockDown, write: virtnet.ErrSockDown,
}, {
	name: "peer's connection",
	end:  []func(s *scene) error{peerConns},
	read: io.EOF, write: errCarrier,
}, {
	name:   "listener",
	end:    []func(s *scene) error{ownListener},
	accept: virtnet.ErrSockDown,
}, {
	name: "peer's listener",
	end:  []func(s *scene) error{peerListener},
	dial: virtnet.ErrConnRefused,
}, {
	name: "host",
	end:  []func(s *scene) error{ownHost},
	read: virtnet.ErrHostDown, write: virtnet.ErrHostDown, dial: virtnet.ErrHostDown, accept: virtnet.ErrHostDown,
	listen: virtnet.ErrHostDown,
}, {
	name: "peer's host",
	end:  []func(s *scene) error{peerHost},
	read: io.EOF, write: errCarrier, dial: virtnet.ErrConnRefused, dialLater: errUnreachable,
}, {
	name: "sub-network",
	end:  []func(s *scene) error{ownSub},
	read: virtnet.ErrNetDown, write: virtnet.ErrNetDown, dial: virtnet.ErrNetDown, accept: virtnet.ErrNetDown,
	listen: virtnet.ErrNetDown, newHost: virtnet.ErrNetDown,
}, {
	name: "peer's sub-network",
	end:  []func(s *scene) error{peerSub},
	two:  true,
	read: io.EOF, write: errCarrier, dial: virtnet.ErrConnRefused, dialLater: errUnreachable,
}, {
	name: "network under it",
	end:  []func(s *scene) error{ownDown},
	read: virtnet.ErrNetDown, write: virtnet.ErrNetDown, dial: virtnet.ErrNetDown, accept: virtnet.ErrNetDown,
	listen: virtnet.ErrNetDown, newHost: virtnet.ErrNetDown,
}, {
	name: "network under the peer",
	end:  []func(s *scene) error{peerDown},
	two:  true,
	read: io.EOF, write: errCarrier, dial: virtnet.ErrConnRefused, dialLater: errUnreachable,
}, {
	name: "connection and listener, then host",
	end:  []func(s *scene) error{ownConns, ownListener, ownHost},
	read: virtnet.ErrHostDown, write: virtnet.ErrHostDown, dial: virtnet.ErrHostDown, accept: virtnet.ErrHostDown,
	listen: virtnet.ErrHostDown,
}, {
	name: "host, then connection and listener",
	end:  []func(s *scene) error{ownHost, ownConns, ownListener},
	read: virtnet.ErrHostDown, write: virtnet.ErrHostDown, dial: virtnet.ErrHostDown, accept: virtnet.ErrHostDown,
	listen: virtnet.ErrHostDown,
}, {
	name: "peer's connection, then connection",
	end:  []func(s *scene) error{peerConns, ownConns},
	read: virtnet.ErrSockDown, write: virtnet.ErrSockDown,
}, {
	name: "peer's host, then host",
	end:  []func(s *scene) error{peerHost, ownHost},
	read: virtnet.ErrHostDown, write: virtnet.ErrHostDown, dial: virtnet.ErrHostDown, accept: virtnet.ErrHostDown,
	listen: virtnet.ErrHostDown,
}, {
	name: "connection, host, sub-network",
	end:  []func(s *scene) error{ownConns, ownListener, ownHost, ownSub},
	read: virtnet.ErrNetDown, write: virtnet.ErrNetDown, dial: virtnet.ErrNetDown, accept: virtnet.ErrNetDown,
	listen: virtnet.ErrNetDown, newHost: virtnet.ErrNetDown,
}, {
	name: "sub-network, host, connection",
	end:  []func(s *scene) error{ownSub, ownHost, ownConns, ownListener},
	read: virtnet.ErrNetDown, write: virtnet.ErrNetDown, dial: virtnet.ErrNetDown, accept: virtnet.ErrNetDown,
	listen: virtnet.ErrNetDown, newHost: virtnet.ErrNetDown,
}}

func ownConns(s *scene) error     { return errors.Join(s.own.in.Close(), s.own.out.Close()) }
func peerConns(s *scene) error    { return errors.Join(s.peer.in.Close(), s.peer.out.Close()) }
func ownListener(s *scene) error  { return s.own.l.Close() }
func peerListener(s *scene) error { return s.peer.l.Close() }
func ownHost(s *scene) error      { return s.own.host.Close() }
func peerHost(s *scene) error     { return s.peer.host.Close() }
func ownSub(s *scene) error       { return s.own.sub.Close() }
func peerSub(s *scene) error      { return s.peer.sub.Close() }
func ownDown(s *scene) error      { return s.down(s.own.sub) }
func peerDown(s *scene) error     { return s.down(s.peer.sub) }

func (s *scene) down(sub *virtnet.SubNetwork) error {
	if s.net.Down == nil {
		s.Skip("Network.Down is nil")
	}
	s.downed = true
	s.net.Down(sub, errors.New("the cable is cut"))
	return nil
}

func newScene(w *world, dialler bool) *scene {
	w.Helper()
	s := &scene{world: w}
	a, b := w.pair()
	s.own = end{host: a, sub: w.subs[0], l: w.listen(a, ":1")}
	s.peer = end{host: b, sub: w.subs[len(w.subs)-1], l: w.listen(b, ":1")}
	if dialler {
		s.own.in, s.peer.out = w.connect(a, s.peer.l)
		s.own.out, s.peer.in = w.connect(a, s.peer.l)
	} else {
		s.peer.out, s.own.in = w.connect(b, s.own.l)
		s.peer.in, s.own.out = w.connect(b, s.own.l)
	}
	return s
}

func (e ending) test(w *world, dialler bool) {
	if e.two && len(w.subs) < 2 {
		w.Skip("one sub-network only")
	}
	s := newScene(w, dialler)
	checkPending := func() {}
	if len(e.end) == 1 {
		checkPending = e.pending(s)
	}
	for _, end := range e.end {
		if err := end(s); err != nil {
			w.Errorf("closing: %v", err)
		}
	}
	checkPending()
	e.later(s)

	again := []func(*scene) error{ownConns, ownListener, ownHost, peerConns, peerListener, peerHost}
	if !w.downed {
		again = append(again, ownSub, peerSub)
	}
	for _, end := range again {
		if err := errors.Join(end(s), end(s)); err != nil {
			w.Errorf("closing a second time: %v", err)
		}
	}
}

// Both ends have α:1 or β:1 for the listener, 2 for in, 3 for out.
const (
	readOwn, readPeer   = "α:2", "β:2"
	writeOwn, writePeer = "α:3", "β:3"
	dialOwn, dialPeer   = "α:4", "β:1"
	acceptOwn           = "α:1"
	listenOwn           = "α:9"
)

// pending starts the operations, and returns what checks their ends.
func (e ending) pending(s *scene) (check func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	s.Cleanup(cancel)
	read, write := startRead(s.own.in), startFlood(s.own.out)
	dial, accept := startDial(ctx, s.own.host, dialPeer), startAccept(ctx, s.own.l)
	s.settle()
	read.waits(s.world, "before anything goes down")
	dial.waits(s.world, "before anything goes down")
	accept.waits(s.world, "before anything goes down")

	return func() {
		s.Helper()
		s.settle()
		expect(s, "pending ", read, opError{"read", readOwn, readPeer, e.read})
		expect(s, "pending ", write, opError{"write", writeOwn, writePeer, e.write})
		expect(s, "pending ", dial, opError{"dial", dialOwn, dialPeer, e.dial})
		expect(s, "pending ", accept, opError{"accept", "", acceptOwn, e.accept})
		cancel()
		if e.dial == nil {
			dial.fails(s.world, opError{"dial", dialOwn, dialPeer, context.Canceled})
		}
		if e.accept == nil {
			accept.fails(s.world, opError{"accept", "", acceptOwn, context.Canceled})
		}
		if e.read == nil {
			_ = s.own.in.SetReadDeadline(past)
			read.fails(s.world, opError{"read", readOwn, readPeer, os.ErrDeadlineExceeded})
		}
		if e.write == nil {
			_ = s.own.out.SetWriteDeadline(past)
			write.fails(s.world, opError{"write", writeOwn, writePeer, os.ErrDeadlineExceeded})
		}
	}
}

// expect checks how an operation has ended, or, if want has no cause, that it goes on.
func expect[T any](s *scene, prefix string, c *call[T], want opError) {
	s.Helper()
	c.what = prefix + c.what
	if want.cause == nil {
		c.waits(s.world, "after the end of something else")
	} else {
		c.fails(s.world, want)
	}
}

// later checks the operations that are affected, when they start now.
func (e ending) later(s *scene) {
	if e.read != nil {
		expect(s, "later ", startRead(s.own.in), opError{"read", readOwn, readPeer, e.read})
	}
	if e.write != nil {
		expect(s, "later ", startFlood(s.own.out), opError{"write", writeOwn, writePeer, e.write})
	}
	if e.dial != nil {
		cause := e.dial
		if e.dialLater != nil {
			cause = e.dialLater
		}
		expect(s, "later ", startDial(s.ctx, s.own.host, dialPeer), opError{"dial", anyPort(s.own.host), dialPeer, cause})
	}
	if e.accept != nil {
		expect(s, "later ", startAccept(s.ctx, s.own.l), opError{"accept", "", acceptOwn, e.accept})
	}
	if e.listen != nil {
		_, err := s.own.host.Listen(s.ctx, listenOwn)
		s.wantError("later Listen", err, opError{"listen", "", listenOwn, e.listen})
	}
	h, err := s.own.sub.NewHost(s.ctx, "γ")
	switch {
	case e.newHost == nil && err != nil:
		s.Errorf("later NewHost: %v", err)
	case e.newHost == nil:
		_ = h.Close()
	case !errors.Is(err, e.newHost) || !errors.Is(err, net.ErrClosed) || !strings.HasSuffix(errText(err), e.newHost.Error()):
		s.Errorf("later NewHost: error %v, want the cause %q", err, e.newHost)
	}
}

func testEndIsNoEOF(w *world) {
	// Both ends of each connection are on what goes down, so each end's shutdown is seen by the other.
	for _, x := range []struct {
		name     string
		src, dst *virtnet.Host
		close    func() error
		cause    error
	}{
		{"host", w.host(0, "α"), w.subs[0].Host("α"), w.subs[0].Host("α").Close, virtnet.ErrHostDown},
		{"sub-network", w.host(0, "γ"), w.host(0, "δ"), w.subs[0].Close, virtnet.ErrNetDown},
	} {
		l := w.listen(x.dst, "")
		var calls []*call[int]
		for range 10 {
			c, d := w.connect(x.src, l)
			calls = append(calls, startRead(c), startRead(d))
			c, d = w.connect(x.src, l)
			calls = append(calls, startFlood(c), startFlood(d))
		}
		w.settle()
		if err := x.close(); err != nil {
			w.Errorf("closing the %s: %v", x.name, err)
		}
		for _, c := range calls {
			if _, err := c.wait(w); !errors.Is(err, x.cause) {
				w.Errorf("%s when its %s is closed: error %q, want the cause %q", c.what, x.name, errText(err), x.cause)
			}
		}
	}
}
