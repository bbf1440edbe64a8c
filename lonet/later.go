package lonet

import "sync"

// later is work that is done on a goroutine of its own if something is overdue.
type later struct {
	watched
	set     *overdue
	running sync.WaitGroup
}

// start begins to watch, and lets f run if that is overdue. The set is one that is never closed.
func (l *later) start(set *overdue, f func()) {
	l.set = set
	l.running.Add(1)
	set.add(&l.watched, func() {
		go func() {
			defer l.running.Done()
			f()
		}()
	})
}

// stop makes sure that f does not run any more, and tells whether it has started. If it has, interrupt is
// called to end it.
func (l *later) stop(interrupt func()) bool {
	if l.set.remove(&l.watched) {
		return false
	}
	interrupt()
	l.running.Wait()
	return true
}
