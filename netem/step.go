package netem

import "time"

// Step lets the one thing pass that has been on the way longest, though the link is held or cut: a segment, the end of a
// connection, or a dial. It does not wait for the other end to take it, nor for the latency. It tells whether
// there was anything. Of what was sent at the same instant dials are first, and then the connections that the sending host
// has dialled, and that it has accepted, the oldest first.
func (l *Link) Step() bool {
	var next *conn
	var first time.Time
	for _, c := range l.conns() { // in the order that holds within an instant
		if sent, ok := c.head(); ok && (next == nil || sent.Before(first)) {
			next, first = c, sent
		}
	}
	l.mu.Lock()
	if it := l.dials.First(); it != nil && (next == nil || !it.Value.since.After(first)) {
		l.dials.passFirst()
		l.mu.Unlock()
		return true
	}
	l.mu.Unlock()
	return next != nil && next.step()
}

// head tells when that was sent which a step would deliver.
func (c *conn) head() (sent time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.waiting()
	if !ok {
		return time.Time{}, false
	}
	return c.out.queue[i].sent, true
}

// waiting returns which segment of the queue is the first that nothing has let pass yet. It is called with mu held.
func (c *conn) waiting() (i int, ok bool) {
	f := c.out
	if f == nil || c.severed {
		return 0, false
	}
	i = f.steps
	if f.busy {
		i++
	}
	return i, i < len(f.queue)
}

func (c *conn) step() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.waiting(); !ok {
		return false
	}
	c.out.steps++
	c.start()
	return true
}

// A State is what there is on a link at one instant.
type State struct {
	Conns    int  // connections whose end at the sending host is open, has vanished, or has something on the way
	Segments int  // on the way, those that a reader keeps waiting included; ends count as one
	Bytes    int  // in them
	Dials    int  // that wait for the link to open
	Held     bool // by Hold
	Cut      bool // by Cut or a partition
}

// State tells what there is on the link.
func (l *Link) State() State {
	var s State
	for _, c := range l.conns() {
		s.Conns++
		c.mu.Lock()
		if c.out != nil {
			s.Segments += len(c.out.queue)
			s.Bytes += c.out.bytes
		}
		c.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Dials, s.Held, s.Cut = l.dials.Len(), l.held, l.cut || l.parts > 0
	return s
}
