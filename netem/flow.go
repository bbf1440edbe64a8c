package netem

import (
	"math"
	"math/bits"
	"net"
	"os"
	"sync"
	"time"
)

// flow is what one end of a connection has on the way. The conn's lock guards it.
type flow struct {
	writers sync.Cond // Writes that wait for room
	writing bool      // a Write is putting its segments into the queue: others wait, so that they don't mix
	alarm   *time.Timer

	queue []segment // in order
	bytes int       // in the queue
	index uint64    // of the next segment
	last  time.Time // when the last segment is due: none overtakes another
	z     float64   // what the latency of the last segment came from
	timer *time.Timer

	deadline  time.Time   // of Write
	fault     error       // why the connection has ended, if that was a fault, or the carrier's doing; for Write
	readFault error       // the same for Read; faults only
	lifetime  *time.Timer // nil without Rules.ResetAfter

	running bool // somebody is delivering
	busy    bool // the first segment
	steps   int  // how many segments may pass a link that is held

	counted *Rules // for which passed counts
	passed  int64  // bytes delivered since these rules hold
}

// segment is what arrives at once.
type segment struct {
	data  []byte
	end   ending
	index uint64
	sent  time.Time
	due   time.Time
	u     float64 // which share of all latencies is shorter

	slotless bool      // it waits for the link to say when it leaves; due means nothing yet
	from     time.Time // when that may be
}

// manySegments is how many segments a connection may have on the way beyond those that its window has room for.
const manySegments = 1024

type ending uint8

const (
	noEnd ending = iota
	endWrite
	endClose
	endReset // of a host that started again, which does not know the connection
)

// flow returns the flow, which it makes if need be. It is called with mu held, as all here but send, wake
// and reschedule.
func (c *conn) flow() *flow {
	if c.out == nil {
		c.out = &flow{}
		c.out.writers.L = &c.mu
	}
	return c.out
}

// send puts p on the way.
func (c *conn) send(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flow()
	for f.writing && len(p) > 0 {
		if err := c.writeErr(); err != nil {
			return 0, err
		}
		c.wait()
	}
	if len(p) == 0 {
		return 0, c.writeErr()
	}
	if f.fault == nil && !c.orphan && !c.writeEnd {
		f.fault = c.probe(false) // the other's end may have come since the last segment was delivered
	}
	f.writing = true
	defer func() { f.writing = false; f.writers.Broadcast() }()
	for n := 0; ; {
		if err := c.writeErr(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		r := c.link.present()
		k := min(len(p)-n, r.slice())
		// The second bound is for the memory of programs that write single bytes.
		if f.bytes > 0 && (f.bytes+k > r.window() || len(f.queue) >= manySegments+r.window()/r.slice()) {
			c.wait()
			continue
		}
		c.put(append([]byte(nil), p[n:n+k]...), noEnd)
		n += k
	}
}

// writeErr is why a Write fails, or nil.
func (c *conn) writeErr() error {
	switch {
	case c.closing:
		return net.ErrClosed
	case !c.out.deadline.IsZero() && time.Until(c.out.deadline) <= 0:
		return os.ErrDeadlineExceeded
	case c.out.fault != nil:
		return c.out.fault
	case c.writeEnd:
		return errPipe
	}
	return nil
}

// wait waits until something has changed, or the deadline has passed.
func (c *conn) wait() {
	f := c.out
	if !c.out.deadline.IsZero() {
		if d := time.Until(c.out.deadline); f.alarm == nil {
			f.alarm = time.AfterFunc(d, c.wake)
		} else {
			f.alarm.Reset(d)
		}
	}
	f.writers.Wait()
}

func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.writers.Broadcast()
}

// put puts a segment on the way.
func (c *conn) put(data []byte, end ending) {
	f := c.flow()
	r := c.link.present()
	s := segment{data: data, end: end, index: f.index, sent: time.Now()}
	s.u = f.draw(c.stream(forLatency).uniform(s.index), r.Correlation)
	f.index++
	f.queue = append(f.queue, s)
	f.bytes += len(data)
	if c.depart(len(f.queue)-1, r, s.sent) {
		c.link.awaitSlot(c)
	}
	c.queued.Store(true)
	c.start()
}

// depart has a segment of the queue leave at a time, or, if the link has a Bandwidth, wait for its slot from then on. It
// tells whether it waits. An end needs no slot, but stays behind data that does.
func (c *conn) depart(i int, r *Rules, at time.Time) (waits bool) {
	s := &c.out.queue[i]
	if r.Bandwidth > 0 && (len(s.data) > 0 || i > 0 && c.out.queue[i-1].slotless) {
		s.slotless, s.from = true, at
		return true
	}
	c.leave(s, r, at)
	return false
}

// leave has a segment leave at a time.
func (c *conn) leave(s *segment, r *Rules, at time.Time) {
	s.slotless = false
	s.due = c.arrival(s, r, at)
	c.out.last = s.due
}

// stream returns where the connection's random numbers for something come from.
func (c *conn) stream(purpose uint64) stream {
	return c.link.rand.sub(bits.RotateLeft64(c.number, 1)).sub(purpose)
}

// draw returns the latency's place in its distribution: u if it has nothing to do with the last.
func (f *flow) draw(u, correlation float64) float64 {
	if correlation == 0 {
		f.z = gauss(u)
		return u
	}
	z := gauss(u)
	if f.index > 0 {
		z = correlation*f.z + math.Sqrt(1-correlation*correlation)*z
	}
	f.z = z
	return normal(z)
}

// arrival tells when a segment that leaves so is due.
func (c *conn) arrival(s *segment, r *Rules, at time.Time) time.Time {
	at = at.Add(r.Latency.at(s.u)).Add(stall(r, c.stream(forLoss).sub(s.index)))
	if s.end == endWrite || s.end == endClose {
		at = at.Add(r.CloseDelay)
	}
	switch last := c.out.last; {
	case at.After(last):
		return at
	case r.Slice > 0 && s.end == noEnd:
		// An instant of its own: in a bubble a reader takes each segment before the next one comes.
		return last.Add(1)
	default:
		return last
	}
}

// stall is how long the retransmissions of something take.
func stall(r *Rules, from stream) time.Duration {
	if r.Loss == 0 {
		return 0
	}
	var sum time.Duration
	next := r.retransmit()
	for k := range uint64(maxLosses) {
		if from.uniform(k) >= r.Loss {
			break
		}
		sum += next
		next *= 2
	}
	return sum
}

// reschedule has what is on the way arrive as the rules are now.
func (c *conn) reschedule(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live()
	f := c.out
	if f == nil {
		return
	}
	f.last = time.Time{}
	r := c.link.present()
	waits := false
	for i := range f.queue {
		at := f.queue[i].sent
		if r.Bandwidth > 0 {
			at = now
		}
		waits = c.depart(i, r, at) || waits
	}
	if waits {
		c.link.awaitSlot(c)
	}
}

func (f *flow) pop() {
	f.bytes -= len(f.queue[0].data)
	f.queue[0] = segment{}
	f.queue = f.queue[1:]
	f.writers.Broadcast()
}

// drop forgets what is on the way.
func (f *flow) drop() {
	f.queue, f.bytes, f.steps = nil, 0, 0
	if f.timer != nil {
		f.timer.Stop()
	}
	f.writers.Broadcast()
}
