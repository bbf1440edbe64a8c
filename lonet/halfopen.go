package lonet

import (
	"net"
	"sync"
	"time"
)

// halfOpen is the set of accepted connections whose request has not come yet. Anyone on the machine can
// connect: the set bounds how many may say nothing, and for how long. One timer serves them all, for they have
// the same time and so end in the order in which they came.
type halfOpen struct {
	limit   int
	timeout time.Duration

	mu     sync.Mutex
	first  *halfOpenConn // the one that has been silent longest
	last   *halfOpenConn
	n      int
	timer  *time.Timer // runs while the set isn't empty
	closed bool
}

type halfOpenConn struct {
	*net.TCPConn
	until      time.Time
	prev, next *halfOpenConn
	in         bool
}

// add puts conn into the set. At the limit the one that has been silent longest is dropped. It is false once
// the set is closed.
func (s *halfOpen) add(conn *net.TCPConn) (*halfOpenConn, bool) {
	c := &halfOpenConn{TCPConn: conn, until: time.Now().Add(s.timeout), in: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	if s.n >= s.limit {
		s.dropLocked(s.first)
	}
	c.prev = s.last
	if s.last == nil {
		s.first = c
	} else {
		s.last.next = c
	}
	s.last = c
	s.n++
	switch {
	case s.timer == nil:
		s.timer = time.AfterFunc(s.timeout, s.sweep)
	case s.n == 1:
		s.timer.Reset(s.timeout)
	}
	return c, true
}

// remove takes c out of the set. It is false if c was dropped.
func (s *halfOpen) remove(c *halfOpenConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.in {
		return false
	}
	s.removeLocked(c)
	return true
}

func (s *halfOpen) removeLocked(c *halfOpenConn) {
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next, c.in = nil, nil, false
	s.n--
}

// dropLocked closes c, which ends the Read that waits for its request.
func (s *halfOpen) dropLocked(c *halfOpenConn) {
	s.removeLocked(c)
	_ = c.Close()
}

// sweep drops those whose time is over.
func (s *halfOpen) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for s.first != nil && !s.first.until.After(now) {
		s.dropLocked(s.first)
	}
	if s.first != nil {
		s.timer.Reset(s.first.until.Sub(now))
	}
}

// close drops all.
func (s *halfOpen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.first != nil {
		s.dropLocked(s.first)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
}
