package virtnettest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

const (
	// patience bounds every wait for what must happen.
	patience = 10 * time.Second
	// moment is how long something that must not happen is given to happen, outside of a bubble.
	moment = 20 * time.Millisecond
)

// inVain says how long something was waited for.
func inVain(bubble bool) string {
	if bubble {
		return patience.String() + " of virtual time, which passes only while all of the bubble waits"
	}
	return patience.String()
}

// world is what a clause works in: a fresh network.
type world struct {
	*testing.T
	net    Network
	bubble bool
	subs   []*virtnet.SubNetwork
	ctx    context.Context // for what is to succeed
	downed bool            // Network.Down was used: Close returns its error
}

func (w *world) close() {
	if w.downed {
		for _, s := range w.subs {
			_ = s.Close()
		}
		return
	}
	closeAll(w, w.subs, w.bubble)
}

// network returns the network's full name.
func (w *world) network() string { return w.subs[0].Network() }

// host makes a host on the sub-network with that number, modulo their number.
func (w *world) host(sub int, name string) *virtnet.Host {
	w.Helper()
	return NewHosts(w, w.subs[sub%len(w.subs)], name)[0]
}

// pair makes α on the first sub-network, and β on the second, if there is one.
func (w *world) pair() (a, b *virtnet.Host) {
	w.Helper()
	return w.host(0, "α"), w.host(1, "β")
}

func (w *world) listen(h *virtnet.Host, laddr string) xnet.Listener {
	w.Helper()
	l, err := h.Listen(w.ctx, laddr)
	if err != nil {
		w.Fatalf("Listen(%q) on %s: %v", laddr, h.Name(), err)
	}
	return l
}

// connect dials l from src, and accepts.
func (w *world) connect(src *virtnet.Host, l xnet.Listener) (dialled, accepted net.Conn) {
	w.Helper()
	dialled, accepted, err := connect(w.ctx, src, l)
	if err != nil {
		w.Fatal(err)
	}
	return dialled, accepted
}

// freePort returns the lowest free port of h: an error of Dial shows it.
func (w *world) freePort(h *virtnet.Host) int {
	w.Helper()
	_, err := h.Dial(w.ctx, ":0")
	w.wantError("Dial(\":0\") on "+h.Name(), err, opError{"dial", anyPort(h), h.Name() + ":0", virtnet.ErrConnRefused})
	var oe *net.OpError
	if errors.As(err, &oe) {
		if a, ok := oe.Source.(*virtnet.Addr); ok {
			return a.Port
		}
	}
	w.FailNow()
	return 0
}

// wantFree checks which port of h is the lowest free one.
func (w *world) wantFree(h *virtnet.Host, port int, when string) {
	w.Helper()
	if got := w.freePort(h); got != port {
		w.Errorf("%s: lowest free port of %s is %d, want %d", when, h.Name(), got, port)
	}
}

// wantAddrs checks both addresses of a connection.
func (w *world) wantAddrs(c net.Conn, local, remote string) {
	w.Helper()
	for _, x := range []struct {
		name string
		addr net.Addr
		want string
	}{{"LocalAddr", c.LocalAddr(), local}, {"RemoteAddr", c.RemoteAddr(), remote}} {
		if x.addr.String() != x.want || x.addr.Network() != w.network() {
			w.Errorf("%s = %s %s, want %s %s", x.name, x.addr.Network(), x.addr, w.network(), x.want)
		}
	}
}

// settle gives whatever is going on the time to come to rest.
func (w *world) settle() {
	if w.bubble {
		synctest.Wait()
		return
	}
	w.pause()
}

// pause waits for a moment.
func (w *world) pause() { <-time.After(moment) }

// wantError checks the error of an operation.
func (w *world) wantError(what string, err error, want opError) bool {
	w.Helper()
	if problem := want.check(w.network(), err); problem != "" {
		w.Errorf("%s: error %q\n\t%s", what, errText(err), problem)
		return false
	}
	return true
}

// A call is an operation in progress.
type call[T any] struct {
	what string
	done chan struct{} // closed when the operation has returned
	val  T
	err  error
}

// start starts an operation.
func start[T any](what string, f func() (T, error)) *call[T] {
	c := &call[T]{what: what, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.val, c.err = f()
	}()
	return c
}

// startDial starts to dial addr from h.
func startDial(ctx context.Context, h *virtnet.Host, addr string) *call[net.Conn] {
	return start("Dial("+strconv.Quote(addr)+") on "+h.Name(), func() (net.Conn, error) { return h.Dial(ctx, addr) })
}

// startAccept starts to accept on l.
func startAccept(ctx context.Context, l xnet.Listener) *call[net.Conn] {
	return start("Accept on "+l.Addr().String(), func() (net.Conn, error) { return l.Accept(ctx) })
}

// startRead starts to read a byte from c.
func startRead(c net.Conn) *call[int] {
	return start("Read on "+c.LocalAddr().String(), func() (int, error) { return c.Read(make([]byte, 1)) })
}

// startFlood starts to write to c, until that fails.
func startFlood(c net.Conn) *call[int] {
	return start("Write on "+c.LocalAddr().String(), func() (int, error) { return flood(c) })
}

// flood writes until that fails. Carriers that buffer take some before they block, or before they notice that
// the other end is gone.
func flood(c net.Conn) (int, error) {
	const most = 256 << 20
	block := make([]byte, 64<<10)
	total := 0
	for total < most {
		n, err := c.Write(block)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// wait waits for the operation's result.
func (c *call[T]) wait(w *world) (T, error) {
	w.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.val, c.err
	case <-timer.C:
		w.Fatalf("%s has not returned after %s", c.what, inVain(w.bubble))
		var zero T
		return zero, nil
	}
}

// fails waits for the operation to fail in that way.
func (c *call[T]) fails(w *world, want opError) {
	w.Helper()
	_, err := c.wait(w)
	w.wantError(c.what, err, want)
}

// succeeds waits for the operation to succeed, and returns its result.
func (c *call[T]) succeeds(w *world) T {
	w.Helper()
	v, err := c.wait(w)
	if err != nil {
		w.Fatalf("%s: %v", c.what, err)
	}
	return v
}

// waits checks that the operation is in progress. To call settle before is the caller's.
func (c *call[T]) waits(w *world, when string) {
	w.Helper()
	select {
	case <-c.done:
		w.Errorf("%s: %s has returned %q, want it to wait", when, c.what, errText(c.err))
	default:
	}
}

func errText(err error) string {
	if err == nil {
		return "<nil>"
	}
	return err.Error()
}
