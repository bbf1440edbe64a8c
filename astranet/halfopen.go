package astranet

import (
	"context"
	"errors"
	"sync"
)

// halfOpen are the connections that came and are no links yet. It ends the oldest when there are too many.
type halfOpen struct {
	mu     sync.Mutex
	most   int
	places chan struct{} // has a value for each that is there, or was ended and still has goroutines
	ends   map[uint64]context.CancelCauseFunc
	oldest uint64
	next   uint64
}

var errCrowded = errors.New("too many connections are no links yet, and this one was the oldest: see HalfOpen in the Config")

// newHalfOpen makes one for so many, one at least.
func newHalfOpen(most int) *halfOpen {
	most = max(most, 1)
	return &halfOpen{most: most, places: make(chan struct{}, 2*most), ends: make(map[uint64]context.CancelCauseFunc)}
}

// add adds a connection, until done is called. The context ends when it is to give way. If those that have been ended are not
// gone yet, add waits for that: who takes connections then takes no more.
func (w *halfOpen) add(parent context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(parent)
	i := w.enter(cancel)
	select {
	case w.places <- struct{}{}:
	case <-parent.Done():
		return ctx, func() { w.leave(i, cancel) }
	}
	return ctx, func() {
		w.leave(i, cancel)
		<-w.places
	}
}

func (w *halfOpen) enter(cancel context.CancelCauseFunc) (i uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ends) >= w.most {
		for w.ends[w.oldest] == nil {
			w.oldest++
		}
		w.ends[w.oldest](errCrowded)
		delete(w.ends, w.oldest)
	}
	i = w.next
	w.next++
	w.ends[i] = cancel
	return i
}

func (w *halfOpen) leave(i uint64, cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ends, i)
	cancel(nil)
}
