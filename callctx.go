package virtnet

import (
	"context"
	"sync"
)

// callCtx is the context of a call into an engine or a registry: it ends with the caller's context, or when
// the host or sub-network that calls goes down. The two are joined only once somebody asks for Done, for a
// call that needs no waiting should not pay for it.
type callCtx struct {
	context.Context                 // the caller's
	life            context.Context // the host's or the sub-network's

	mu     sync.Mutex // never held while waiting
	joined context.Context
	cancel context.CancelFunc
	ended  bool
}

func (c *callCtx) Done() <-chan struct{} {
	if c.Context.Done() == nil {
		return c.life.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined == nil {
		joined, cancel := context.WithCancel(c.Context)
		stop := context.AfterFunc(c.life, cancel)
		c.joined = joined
		c.cancel = func() { stop(); cancel() }
		if c.ended || c.life.Err() != nil { // AfterFunc takes a moment, and Err says it now
			c.cancel()
		}
	}
	return c.joined.Done()
}

// AfterFunc is what context.AfterFunc looks for: with it, it needs no goroutine to wait for Done. It has called Done by
// then.
func (c *callCtx) AfterFunc(f func()) (stop func() bool) {
	if c.Done(); c.joined != nil { // nobody writes it any more
		return context.AfterFunc(c.joined, f)
	}
	return context.AfterFunc(c.life, f)
}

func (c *callCtx) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if err := c.life.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined != nil {
		return c.joined.Err() // it also ends with the call
	}
	return nil
}

// end releases what the context holds. The call is over, but whoever it has left behind may still ask. If the
// caller's context is one that can end, Done is closed from now on, and Err says so once Done was asked for. If it
// is one that cannot, the context is no more than the host's or sub-network's, and ends with that.
func (c *callCtx) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}
