package mux

import (
	"sync"
	"time"
)

// A deadline is a moment after which a kind of call fails. It has a timer only while it lies ahead. The lock given
// to set guards it.
type deadline struct {
	expired bool
	at      time.Time
	timer   *time.Timer
}

// set moves the deadline. wake is called, with the lock held, when it passes, be it at once.
func (d *deadline) set(t time.Time, mu *sync.Mutex, wake func()) {
	d.stop()
	d.at = t
	d.expired = !t.IsZero() && time.Until(t) <= 0
	switch {
	case d.expired:
		wake()
	case t.IsZero():
	case d.timer != nil:
		d.timer.Reset(time.Until(t))
	default:
		d.timer = time.AfterFunc(time.Until(t), func() {
			mu.Lock()
			defer mu.Unlock()
			// The timer may have fired while the deadline was being moved.
			if !d.at.IsZero() && time.Until(d.at) <= 0 {
				d.expired = true
				wake()
			}
		})
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
