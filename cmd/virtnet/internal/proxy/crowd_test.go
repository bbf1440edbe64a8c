package proxy

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// newMember returns a client on a pipe, and whether its connection was closed.
func newMember(cr *crowd) (*client, func() bool) {
	near, far := net.Pipe()
	return &client{Conn: near, crowd: cr}, func() bool {
		far.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := far.Read(make([]byte, 1))
		netErr, ok := err.(net.Error)
		return !ok || !netErr.Timeout()
	}
}

// enter lets a client in that finds room at once.
func enter(t *testing.T, cr *crowd) (*client, func() bool) {
	t.Helper()
	c, closed := newMember(cr)
	start := time.Now()
	if !cr.enter(t.Context(), c) || time.Since(start) > 0 {
		t.Fatalf("it has waited for %v", time.Since(start))
	}
	return c, closed
}

// entering lets a client in that must wait, and returns how to hear whether it is in.
func entering(ctx context.Context, cr *crowd, c *client) <-chan bool {
	in := make(chan bool, 1)
	go func() { in <- cr.enter(ctx, c) }()
	synctest.Wait()
	return in
}

func wantWaiting(t *testing.T, in <-chan bool) {
	t.Helper()
	synctest.Wait()
	select {
	case <-in:
		t.Fatal("it does not wait")
	default:
	}
}

// When all places are taken, the one that has been quiet for longest goes, but not before its time.
func TestCrowdQuietGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := newCrowd(3)
		a, aClosed := enter(t, cr)
		b, bClosed := enter(t, cr)
		time.Sleep(quietTime / 2)
		c, cClosed := enter(t, cr)
		cr.setBusy(a)
		d, dClosed := newMember(cr)
		in := entering(t.Context(), cr, d)
		time.Sleep(quietTime/2 - 50*time.Millisecond) // to look whether one is closed takes some
		wantWaiting(t, in)
		if aClosed() || bClosed() || cClosed() {
			t.Error("one had to go too early")
		}
		if !<-in {
			t.Error("it was not let in")
		}
		if aClosed() || !bClosed() || cClosed() || dClosed() {
			t.Error("another had to go than the one that was quiet for longest")
		}
		for _, m := range []*client{a, b, c, d} {
			m.leave()
		}
	})
}

// When all are busy, the next waits until one leaves, or is quiet for a while.
func TestCrowdWaits(t *testing.T) {
	for name, makeRoom := range map[string]func(*crowd, *client){
		"one leaves":   func(_ *crowd, c *client) { c.leave() },
		"one is quiet": func(cr *crowd, c *client) { cr.setQuiet(c) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cr := newCrowd(1)
				a, _ := enter(t, cr)
				cr.setBusy(a)
				b, _ := newMember(cr)
				in := entering(t.Context(), cr, b)
				time.Sleep(10 * time.Minute)
				wantWaiting(t, in)
				start := time.Now()
				makeRoom(cr, a)
				if !<-in || time.Since(start) > quietTime {
					t.Errorf("it was let in after %v", time.Since(start))
				}
				a.leave()
				b.leave()
			})
		})
	}
}

func TestCrowdContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := newCrowd(1)
		a, _ := enter(t, cr)
		cr.setBusy(a)
		ctx, cancel := context.WithCancel(t.Context())
		b, _ := newMember(cr)
		in := entering(ctx, cr, b)
		cancel()
		if <-in {
			t.Error("it was let in")
		}
		a.leave()
	})
}

// Those who have left, or had to go, are no longer counted, whatever is noted about them.
func TestCrowdGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cr := newCrowd(1)
		a, _ := enter(t, cr)
		time.Sleep(quietTime)
		b, bClosed := enter(t, cr)
		cr.setBusy(a)
		cr.setQuiet(a)
		a.leave()
		a.leave()
		if cr.quiet.Len() != 1 || len(cr.all) != 1 {
			t.Errorf("%d are quiet of %d, want b alone", cr.quiet.Len(), len(cr.all))
		}
		empty := cr.empty()
		select {
		case <-empty:
			t.Error("it is said to be empty")
		default:
		}
		done := make(chan struct{})
		go func() {
			cr.reset()
			close(done)
		}()
		synctest.Wait()
		if !bClosed() {
			t.Error("reset has left a connection")
		}
		b.leave()
		<-empty
		<-cr.empty()
		<-done
	})
}
