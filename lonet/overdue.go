package lonet

import (
	"sync"
	"time"

	"github.com/virtnet/virtnet/internal/queue"
)

// overdue finds what takes longer than a time, the same for all that it watches, so that they become overdue
// in the order in which they came and one timer serves them all. Handshakes take microseconds: to set a timer
// for each would be a good part of their cost.
type overdue struct {
	after time.Duration

	mu     sync.Mutex
	queue  queue.Queue[*watched]
	timer  *time.Timer
	armed  bool // the timer runs, at the latest until the first is overdue
	closed bool
}

// watched is something that takes time.
type watched struct {
	late  func() // called on a goroutine that others wait for: it must not block
	since time.Time
	item  queue.Item[*watched]
}

// add begins to watch; late is called if w is overdue, and not after remove. It is false once the set is closed.
func (o *overdue) add(w *watched, late func()) bool {
	w.late, w.since, w.item.Value = late, time.Now(), w
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.queue.Push(&w.item)
	if !o.armed {
		o.arm(o.after)
	}
	return true
}

// remove ends watching. It is false if w was overdue.
func (o *overdue) remove(w *watched) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w.item.In() == nil {
		return false
	}
	w.item.Leave()
	return true
}

// watching tells whether w is watched still.
func (o *overdue) watching(w *watched) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return w.item.In() != nil
}

// drop takes the first for overdue before its time. It is false if there is none.
func (o *overdue) drop() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queue.Len() == 0 {
		return false
	}
	o.expire()
	return true
}

// close takes all that are watched for overdue, and what is added from now on is refused.
func (o *overdue) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for o.queue.Len() > 0 {
		o.expire()
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
	for o.queue.Len() > 0 {
		if left := o.after - time.Since(o.queue.First().Value.since); left > 0 {
			o.arm(left)
			return
		}
		o.expire()
	}
}

// expire takes the first for overdue.
func (o *overdue) expire() { o.queue.Pop().Value.late() }
