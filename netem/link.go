package netem

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Link is the way from one host to another, in that direction: everything that one sends to the other passes it,
// on connections that either has dialled. Links are there for any two names, before and after the hosts are.
//
// Its methods are safe for concurrent use.
type Link struct {
	net      *Net
	from, to string
	rand     stream

	// shaped tells that bytes may not go straight to the carriers. Every Write looks at it, so it is atomic; it changes
	// with mu held.
	shaped atomic.Bool

	// mu is the innermost lock but for those of carriers: it is taken with a conn's held. Never held while waiting.
	mu    sync.Mutex
	own   bool // the rules were set for this link, and are not the network's
	rules *Rules
	held  bool
	cut   bool
	parts int // partitions that cut the link
	dials dialQueue

	connections [2]uint64 // made so far, by role: what the two hosts do at one instant has no order
	handshakes  [2]uint64 // dials, and answers to dials, so far
	dialFaults  int       // dials that the present rules have done something to
	busy        time.Time // until when the link sends what it has taken, if there is a Bandwidth
	order       uint64    // the number of the last thing that was put on the way
	first, last *conn     // those that are not closed, oldest first
	spare       []conn    // not used yet
}

// From returns the name of the host that sends.
func (l *Link) From() string { return l.from }

// To returns the name of the host that receives.
func (l *Link) To() string { return l.to }

// Set sets the rules, for present and later connections and for what is on the way: it arrives when it would have
// with the new rules, though not before it was sent, or at once if that has passed. The error tells what is
// wrong with them.
func (l *Link) Set(r Rules) error {
	if err := r.Check(); err != nil {
		return err
	}
	l.change(func() { l.own, l.rules = true, &r })
	return nil
}

// Rules returns the rules that hold.
func (l *Link) Rules() Rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.rules
}

// inherit sets the network's rules where the link has none of its own. It is called with net.mu held.
func (l *Link) inherit(r *Rules) {
	l.change(func() {
		if !l.own {
			l.rules = r
		}
	})
}

// Clear takes the link's own rules back, so that it has those of the network again, and the hold and the cut.
// What was held arrives, unless a partition keeps it.
func (l *Link) Clear() {
	l.net.mu.Lock()
	r := l.net.defaults
	l.change(func() { l.own, l.rules, l.held, l.cut = false, r, false, false })
	l.net.mu.Unlock()
}

// Hold keeps everything from arriving from now on, until Release.
func (l *Link) Hold() { l.change(func() { l.held = true }) }

// Release ends Hold: everything that was held arrives, in order.
func (l *Link) Release() { l.change(func() { l.held = false }) }

// Cut keeps everything from arriving, as a broken cable does: connections stay, and what is sent arrives after Mend.
// It is for partitions what Hold is for tests that go step by step, and each knows nothing of the other.
func (l *Link) Cut() { l.change(func() { l.cut = true }) }

// Mend ends Cut.
func (l *Link) Mend() { l.change(func() { l.cut = false }) }

// change changes the link's state by f, and has what is on the way arrive as that is now.
func (l *Link) change(f func()) {
	l.net.shaping.Store(true)
	l.mu.Lock()
	before := l.rules
	f()
	other := before != l.rules
	if other {
		l.dialFaults, l.busy = 0, time.Time{}
	}
	l.shaped.Store(!l.open() || *l.rules != Rules{})
	if l.open() {
		l.dials.passAll()
	}
	l.mu.Unlock()
	for _, c := range l.conns() {
		if other {
			c.reschedule()
		}
		c.kick()
	}
}

// open tells whether anything passes. It is called with mu held.
func (l *Link) open() bool { return !l.held && !l.cut && l.parts == 0 }

func (l *Link) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open()
}

// conns returns the connections, oldest first.
func (l *Link) conns() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*conn
	for c := l.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}

// slab is how many conns are made in one piece: allocating each alone is most of what a Net without rules would cost a
// dial. One that stays open keeps the memory of the others.
const slab = 8

// newConn returns a new connection of the link's.
func (l *Link) newConn(m *member, carrier net.Conn, role role) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) == 0 {
		l.spare = make([]conn, slab)
	}
	c := &l.spare[0]
	l.spare = l.spare[1:]
	c.carrier, c.member, c.link = carrier, m, l
	c.role, c.number = role, l.connections[role]
	l.connections[role]++
	c.prev, l.last = l.last, c
	if c.prev == nil {
		l.first = c
	} else {
		c.prev.next = c
	}
	return c
}

// remove forgets c, once.
func (l *Link) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
}

// departure is what the link says of something that is put on the way.
type departure struct {
	sent  time.Time // when the last byte of it has left
	order uint64    // its number on the link
	rules *Rules
}

// depart puts n bytes on the way that are sent at a time.
func (l *Link) depart(n int, at time.Time) departure {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order++
	if bw := l.rules.Bandwidth; bw > 0 && n > 0 {
		if l.busy.Before(at) {
			l.busy = at
		}
		l.busy = l.busy.Add(time.Duration(float64(n) / float64(bw) * float64(time.Second)))
		at = l.busy
	}
	return departure{at, l.order, l.rules}
}
