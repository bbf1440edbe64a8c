package lonet

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// someone is in a crowd until it is dropped.
type someone struct {
	watched
	dropped chan struct{}
}

// comes makes someone take a place in c, which it leaves when it is dropped, and when leaves says so.
func comes(c *crowd, leaves <-chan struct{}) *someone {
	s := &someone{dropped: make(chan struct{})}
	c.take()
	c.add(&s.watched, func() { close(s.dropped) })
	go func() {
		<-s.dropped
		<-leaves
		c.leave()
	}()
	return s
}

// In a full crowd a place is had from who came first, and not before that one has left.
func TestCrowdFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(2, time.Minute)
		leaves := make(chan struct{})
		first, second := comes(c, leaves), comes(c, leaves)
		var third *someone
		go func() { third = comes(c, leaves) }()
		synctest.Wait()
		select {
		case <-first.dropped:
		default:
			t.Fatal("the first was not dropped")
		}
		if third != nil {
			t.Fatal("the third has a place that the first has not left")
		}
		leaves <- struct{}{}
		synctest.Wait()
		if third == nil || !c.watching(&second.watched) || !c.watching(&third.watched) {
			t.Error("the third has not got the place of the first")
		}
		if len(c.places) != 2 {
			t.Errorf("%d places are taken, want 2", len(c.places))
		}
		close(leaves)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(c.places) != 0 {
			t.Errorf("after their time %d places are taken", len(c.places))
		}
	})
}

// Who waits for a place gets one, though others come between; there are never more than there is room for.
func TestCrowdRace(t *testing.T) {
	const places = 3
	c := newCrowd(places, time.Hour)
	var in, most atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 300 {
				c.take()
				n := in.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				var w watched
				dropped := make(chan struct{})
				c.add(&w, func() { close(dropped) })
				if i%2 == 0 {
					wg.Go(func() { // it stays until it is dropped
						<-dropped
						in.Add(-1)
						c.leave()
					})
					continue
				}
				runtime.Gosched()
				c.remove(&w)
				in.Add(-1)
				c.leave()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; { // who is last in is dropped by nobody else
		select {
		case <-done:
			running = false
		case <-time.After(10 * time.Millisecond):
			c.drop()
		}
	}
	if most.Load() > places || len(c.places) != 0 {
		t.Errorf("at most %d were in at once, want at most %d; %d places are taken at the end", most.Load(), places, len(c.places))
	}
}
