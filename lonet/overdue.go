package lonet

import (
	"sync"
	"time"
)

// overdue finds what takes longer than a time, the same for all that it watches, so that they become overdue
// in the order in which they came and one timer serves them all. Handshakes take microseconds: to set a timer
// for each would be a good part of their cost.
type overdue struct {
	after time.Duration
	limit int // how many may be watched at once; at the limit the first is taken for overdue. 0 is no limit

	mu     sync.Mutex
	first  *watched
	last   *watched
	n      int
	timer  *time.Timer
	armed  bool // the timer runs, at the latest until the first is overdue
	closed bool
}

// watched is something that takes time.
type watched struct {
	late       func() // called on a goroutine that others wait for: it must not block
	since      time.Time
	prev, next *watched
	in         bool
}

// add begins to watch; late is called if w is overdue, and not after remove. It is false once the set is closed.
func (o *overdue) add(w *watched, late func()) bool {
	w.late, w.since = late, time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.limit > 0 && o.n >= o.limit {
		o.expire(o.first)
	}
	w.prev, w.in = o.last, true
	if o.last == nil {
		o.first = w
	} else {
		o.last.next = w
	}
	o.last = w
	o.n++
	if !o.armed {
		o.arm(o.after)
	}
	return true
}

// remove ends watching. It is false if w was overdue.
func (o *overdue) remove(w *watched) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !w.in {
		return false
	}
	o.unlink(w)
	return true
}

// close takes all that are watched for overdue, and what is added from now on is refused.
func (o *overdue) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for o.first != nil {
		o.expire(o.first)
	}
	if o.timer != nil {
		o.timer.Stop()
	}
}

func (o *overdue) arm(d time.Duration) {
	o.armed = true
	if o.timer == nil {
		o.timer = time.AfterFunc(d, o.sweep)
	} else {
		o.timer.Reset(d)
	}
}

// sweep expires those that are overdue. It leaves the timer alone while there is nothing to watch.
func (o *overdue) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	for o.first != nil && !o.closed {
		if left := o.after - time.Since(o.first.since); left > 0 {
			o.arm(left)
			return
		}
		o.expire(o.first)
	}
}

func (o *overdue) expire(w *watched) {
	o.unlink(w)
	w.late()
}

func (o *overdue) unlink(w *watched) {
	if w.prev == nil {
		o.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		o.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.in = nil, nil, false
	o.n--
}
