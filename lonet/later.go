package lonet

import (
	"sync"
	"time"
)

// later runs a function after a while, unless it is stopped before.
type later struct {
	timer   *time.Timer
	running sync.WaitGroup
}

func runLater(d time.Duration, f func()) *later {
	l := new(later)
	l.running.Add(1)
	l.timer = time.AfterFunc(d, func() {
		defer l.running.Done()
		f()
	})
	return l
}

// stop makes sure that the function does not run any more, and tells whether it has started. If it has,
// interrupt is called to end it.
func (l *later) stop(interrupt func()) bool {
	if l.timer.Stop() {
		return false
	}
	interrupt()
	l.running.Wait()
	return true
}
