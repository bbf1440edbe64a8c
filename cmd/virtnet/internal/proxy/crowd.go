package proxy

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// quietTime is how long a client may always stay without asking for anything, however many want its place.
const quietTime = time.Second

// A crowd is the clients that are connected, of which there are not more than max.
type crowd struct {
	max     int
	members sync.WaitGroup // those that came in by enter, until they leave
	room    chan struct{}  // capacity 1: it may be that there is room now

	mu     sync.Mutex
	all    map[*client]struct{}
	quiet  list.List     // of *client: those that have asked for nothing, the one that did so first in front
	nobody chan struct{} // is closed when all is empty; nil as long as nobody has asked
}

func newCrowd(max int) *crowd {
	return &crowd{max: max, room: make(chan struct{}, 1), all: make(map[*client]struct{})}
}

// enter takes a newcomer in, as one that is quiet. When all places are taken, it resets the one that has been quiet for
// longest, or waits. It is false if ctx ends before there is room. One goroutine at a time may call it.
func (cr *crowd) enter(ctx context.Context, c *client) bool {
	for {
		victim, wait := cr.tryEnter(c)
		if victim != nil {
			bridge.Reset(victim.Conn)
		}
		if wait == 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-cr.room:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// tryEnter takes c in if there is room. If that is another's place, it returns that one. If there is none, it returns
// how long to wait.
func (cr *crowd) tryEnter(c *client) (victim *client, wait time.Duration) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if len(cr.all) >= cr.max {
		first := cr.quiet.Front()
		if first == nil {
			return nil, time.Hour // or until somebody leaves
		}
		victim = first.Value.(*client)
		if wait = time.Until(victim.quietSince.Add(quietTime)); wait > 0 {
			return nil, wait
		}
		cr.forgetLocked(victim)
	}
	cr.all[c] = struct{}{}
	cr.members.Add(1)
	cr.quietLocked(c)
	return victim, 0
}

// setBusy notes that a client has asked for something.
func (cr *crowd) setBusy(c *client) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	cr.busyLocked(c)
}

// setQuiet notes that a client has got what it asked for.
func (cr *crowd) setQuiet(c *client) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if _, in := cr.all[c]; in {
		cr.quietLocked(c)
	}
}

func (cr *crowd) quietLocked(c *client) {
	cr.busyLocked(c)
	c.quietSince = time.Now()
	c.quiet = cr.quiet.PushBack(c)
	cr.signal()
}

func (cr *crowd) busyLocked(c *client) {
	if c.quiet != nil {
		cr.quiet.Remove(c.quiet)
		c.quiet = nil
	}
}

func (cr *crowd) forgetLocked(c *client) {
	cr.busyLocked(c)
	delete(cr.all, c)
}

func (cr *crowd) signal() {
	select {
	case cr.room <- struct{}{}:
	default:
	}
}

// leave takes out a client whose connection is closed.
func (cr *crowd) leave(c *client) {
	cr.mu.Lock()
	cr.forgetLocked(c)
	if len(cr.all) == 0 && cr.nobody != nil {
		close(cr.nobody)
		cr.nobody = nil
	}
	cr.signal()
	cr.mu.Unlock()
	cr.members.Done()
}

// empty returns a channel that is closed when nobody is connected.
func (cr *crowd) empty() <-chan struct{} {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if len(cr.all) == 0 {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	if cr.nobody == nil {
		cr.nobody = make(chan struct{})
	}
	return cr.nobody
}

// reset resets all connections, and returns when all clients have left.
func (cr *crowd) reset() {
	cr.mu.Lock()
	var all []*client
	for c := range cr.all {
		all = append(all, c)
	}
	cr.mu.Unlock()
	for _, c := range all {
		bridge.Reset(c.Conn)
	}
	cr.members.Wait()
}
