package pipe

import "sync"

// waiter is a Read or a Write that waits. Whoever finishes it, the peer, a timer or a close, does its work for it
// under the lock: copies, takes it off its queue, and wakes it. From then on nobody touches its bytes.
type waiter struct {
	next *waiter // in the queue, which is a ring; nil when it is off the queue: done
	buf  []byte  // what is left to read into, or to write
	err  error   // why it ended early
	cond sync.Cond
}

func (w *waiter) done() bool { return w.next == nil }

// queue is a FIFO of waiters, a ring held by its last. The zero queue is empty.
type queue struct{ last *waiter }

func (q *queue) empty() bool { return q.last == nil }

// first returns the waiter that is longest in the queue, or nil.
func (q *queue) first() *waiter {
	if q.last == nil {
		return nil
	}
	return q.last.next
}

func (q *queue) push(w *waiter) {
	if q.last == nil {
		w.next = w
	} else {
		w.next, q.last.next = q.last.next, w
	}
	q.last = w
}

// finish takes the first waiter off the queue and wakes it. err is why it ended early, or nil.
func (q *queue) finish(err error) {
	w := q.last.next
	if w == q.last {
		q.last = nil
	} else {
		q.last.next = w.next
	}
	w.next, w.err = nil, err
	w.cond.Signal()
}
