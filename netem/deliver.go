package netem

import (
	"errors"
	"os"
	"time"
)

// What is due is delivered to the carrier by a goroutine of its own, for the carrier may let it wait. A conn's lock
// guards everything; it is held when these are called, but for kick, arrive and deliver.

// kick has what is due delivered.
func (c *conn) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		c.out.writers.Broadcast() // the window may be another
		c.start()
	}
}

// ready tells whether the first segment may be delivered now; if only time is missing it sets the timer.
func (c *conn) ready() bool {
	f := c.out
	if len(f.queue) == 0 || c.severed || c.finished || c.vanished && !c.closing {
		return false
	}
	if f.steps > 0 {
		return true
	}
	if f.queue[0].slotless || !c.link.isOpen() {
		return false
	}
	d := time.Until(f.queue[0].due)
	if d <= 0 {
		return true
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(d, c.arrive)
	} else {
		f.timer.Reset(d)
	}
	return false
}

// start has what is due delivered, unless somebody is at it.
func (c *conn) start() {
	if !c.out.running && c.ready() {
		c.out.running = true
		go c.deliver()
	}
}

// arrive delivers what is due on the goroutine of the timer.
func (c *conn) arrive() {
	c.mu.Lock()
	first := !c.out.running && c.ready()
	if first {
		c.out.running = true
	}
	c.mu.Unlock()
	if first {
		c.deliver()
	}
}

// deliver writes to the carrier what is due.
func (c *conn) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.out
	for c.ready() {
		s := f.queue[0]
		k := c.together()
		f.steps = max(f.steps-1, 0)
		f.busy = true
		data, fault := c.limit(c.join(k))
		orphan, other := c.orphan, c.other
		c.mu.Unlock()
		var err error
		switch {
		case s.end == endReset:
			other.reset()
		case orphan:
			c.member.net.lost(c)
		default:
			err = c.hand(s.end, data)
		}
		if err == nil && fault != nil {
			fault()
		}
		c.mu.Lock()
		f.busy = false
		if c.finished {
			break
		}
		if len(f.queue) == 0 || f.queue[0].index != s.index {
			continue // the host has vanished meanwhile, and with it what was on the way
		}
		if err != nil || s.end == endClose {
			c.broke(err)
			break
		}
		for range k {
			f.pop()
		}
	}
	f.running = false
	if len(f.queue) == 0 && !c.finished && !c.severed {
		c.rest()
	}
}

// hand gives something to the carrier. It is called without the lock.
func (c *conn) hand(end ending, data []byte) error {
	if end == endWrite {
		return c.carrier.(interface{ CloseWrite() error }).CloseWrite()
	}
	for len(data) > 0 {
		n, err := c.carrier.Write(data)
		data = data[n:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// It was for Writes that were in the carrier before.
			err = c.carrier.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mostTogether is about how much is handed to the carrier at once.
const mostTogether = 64 << 10

// together tells how many segments are delivered as one: those of data that are due with the first. Whether a Read gets all of what
// arrives at an instant should not depend on which goroutine runs first.
func (c *conn) together() int {
	f := c.out
	if f.steps > 0 || c.orphan {
		return 1
	}
	k, n, now := 1, len(f.queue[0].data), time.Now()
	for k < len(f.queue) && f.queue[k-1].end == noEnd {
		s := &f.queue[k]
		if s.end != noEnd || s.slotless || s.due.After(now) || n+len(s.data) > mostTogether {
			break
		}
		n += len(s.data)
		k++
	}
	return k
}

// join returns the data of the first k segments.
func (c *conn) join(k int) []byte {
	q := c.out.queue
	if k == 1 {
		return q[0].data
	}
	var all []byte
	for i := range k {
		all = append(all, q[i].data...)
	}
	return all
}

// limit returns what of data the connection may still deliver, and what to do then, if that is all.
func (c *conn) limit(data []byte) ([]byte, func()) {
	f := c.out
	r := c.link.present()
	if f.counted != r {
		f.counted, f.passed = r, 0
	}
	for _, x := range []struct {
		most int64
		end  func()
	}{{r.ResetBytes, c.reset}, {r.CloseBytes, c.cutOff}} {
		if x.most > 0 && f.passed+int64(len(data)) >= x.most {
			data = data[:x.most-f.passed]
			f.passed += int64(len(data))
			return data, x.end
		}
	}
	f.passed += int64(len(data))
	return data, nil
}

// broke ends the connection because the carrier has failed, or because of a Close whose turn has come.
func (c *conn) broke(err error) {
	if err != nil && c.out.fault == nil {
		c.out.fault = err
	}
	if !c.closing {
		c.out.drop()
		c.queued.Store(c.orphan)
		return
	}
	c.finish()
	c.mu.Unlock()
	c.forget()
	_ = c.carrier.Close()
	c.mu.Lock()
}

// rest is called when nothing is on the way any more: Writes may go straight to the carrier again.
func (c *conn) rest() {
	c.out.queue = nil
	for _, t := range []**time.Timer{&c.out.timer, &c.out.alarm} { // a connection at rest should weigh little
		if *t != nil {
			(*t).Stop()
			*t = nil
		}
	}
	if !c.out.deadline.IsZero() {
		_ = c.carrier.SetWriteDeadline(c.out.deadline)
	}
	c.queued.Store(c.orphan)
}
