package lonet

import (
	"context"
	"sync"
)

// later is work that is done on a goroutine of its own if something is overdue.
type later struct {
	watched
	set     *overdue
	cancel  context.CancelFunc // set before stop can find that the work has started
	running sync.WaitGroup
}

// start begins to watch, and lets f run if that is overdue; f ends when its context does, or when it is
// interrupted. The set is one that is never closed.
func (l *later) start(set *overdue, f func(ctx context.Context)) {
	l.set = set
	l.running.Add(1)
	set.add(&l.watched, func() {
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(context.Background())
		go func() {
			defer l.running.Done()
			defer l.cancel()
			f(ctx)
		}()
	})
}

// stop makes sure that f does not run any more, and tells whether it has started. If it has, its context ends and
// interrupt is called.
func (l *later) stop(interrupt func()) bool {
	if l.set.remove(&l.watched) {
		return false
	}
	l.cancel()
	interrupt()
	l.running.Wait()
	return true
}
