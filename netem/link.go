package netem

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet"
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

	// connections is how many were made so far, by role: what the two hosts do at one instant has no order.
	connections [2]atomic.Uint64

	// A link that nobody has asked anything of knows its connections by number only: a list of them would be most of what a
	// Net without rules costs a dial. From when listed is true each new one is in open, and when adopted is, all are.
	listed, adopted atomic.Bool

	// mu is the innermost lock but for those of carriers: it is taken with a conn's held. Never held while waiting.
	mu    sync.Mutex
	own   bool // the rules were set for this link, and are not the network's
	rules *Rules
	held  bool
	cut   bool
	parts int // partitions that cut the link
	dials dialQueue

	handshakes uint64            // dials so far
	dialled    map[source]uint64 // the number of the last one from each port
	dialFaults int               // dials that the present rules have done something to
	open       map[*conn]struct{}
	waiting    map[*conn]struct{} // those that have segments without a slot; see slots.go
	giving     bool               // the timer for that is set

	// slots is taken before a conn's lock. It guards busy.
	slots sync.Mutex
	busy  time.Time // until when the link sends what it has taken, if there is a Bandwidth
}

// source is where a dial comes from: a port of the host, on one of the networks that have the Net.
type source struct {
	network string
	port    int
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
func (l *Link) Rules() Rules { return *l.present() }

// inherit sets the network's rules where the link has none of its own.
func (l *Link) inherit() {
	l.change(func() {
		if !l.own {
			l.rules = l.net.defaults
		}
	})
}

// Clear takes the link's own rules back, so that it has those of the network again, and the hold and the cut.
// What was held arrives, unless a partition keeps it.
func (l *Link) Clear() {
	l.change(func() { l.own, l.rules, l.held, l.cut = false, l.net.defaults, false, false })
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

// change changes the link's state by f, with net.mu and mu held, and has what is on the way arrive as that is now.
func (l *Link) change(f func()) {
	l.net.shaping.Store(true)
	l.net.mu.Lock()
	l.mu.Lock()
	before := l.rules
	f()
	other := before != l.rules
	if other {
		l.dialFaults = 0
	}
	l.shaped.Store(!l.passes() || *l.rules != Rules{})
	if l.passes() {
		l.dials.passAll()
	}
	l.mu.Unlock()
	l.net.mu.Unlock()
	conns := l.conns()
	if other {
		l.reschedule(conns)
	}
	for _, c := range conns {
		c.kick()
	}
}

// passes tells whether anything passes. It is called with mu held.
func (l *Link) passes() bool { return !l.held && !l.cut && l.parts == 0 }

func (l *Link) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passes()
}

// conns returns the connections, in the order of their numbers.
func (l *Link) conns() []*conn {
	l.net.adopt([]*Link{l})
	return l.known()
}

// known is conns for a link that may have others, which nothing has happened to.
func (l *Link) known() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.open), func(a, b *conn) int { return cmp.Compare(a.number, b.number) })
}

// number returns the number of a new connection: those that the sending host has dialled come first, and then those that
// it has accepted. If there were rules when it was dialled it has the number of its dial: dials that a partition has kept
// make their connections at the instant at which it is healed, in any order. Otherwise connections are counted.
func (l *Link) number(dialled bool, local, remote *virtnet.Addr) uint64 {
	r, from, port := dialler, l, local.Port
	if !dialled {
		r, from, port = accepter, l.net.Link(l.to, l.from), remote.Port
	}
	if l.net.shaping.Load() {
		if n, ok := from.dialFrom(source{local.Net, port}); ok {
			return uint64(r)<<63 | 1<<62 | n
		}
	}
	return uint64(r)<<63 | (l.connections[r].Add(1) - 1)
}

func (l *Link) add(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = make(map[*conn]struct{})
	}
	l.open[c] = struct{}{}
}

func (l *Link) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// present returns the rules that hold, which nobody changes.
func (l *Link) present() *Rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules
}
