package netem

import (
	"cmp"
	"slices"
	"time"
)

// A link with a Bandwidth sends one segment after the other. Which comes first must not be up to the scheduler: those that
// are sent at the same instant wait until that is over, a nanosecond, and then get their slots in the order of their
// connections' numbers. A slot takes a nanosecond at least, so nothing arrives later for that.

// slot is a segment that waits for one.
type slot struct {
	conn       *conn
	index      uint64
	bytes      int
	from, sent time.Time
}

// awaitSlot notes that a connection has segments without a slot. It is called with the conn's lock held.
func (l *Link) awaitSlot(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = make(map[*conn]struct{})
	}
	l.waiting[c] = struct{}{}
	if !l.giving {
		l.giving = true
		time.AfterFunc(time.Nanosecond, l.giveSlots)
	}
}

// giveSlots gives slots to what was sent before now.
func (l *Link) giveSlots() {
	l.slots.Lock()
	defer l.slots.Unlock()
	l.mu.Lock()
	conns, r := l.waiting, l.rules
	l.waiting, l.giving = nil, false
	l.mu.Unlock()
	now := time.Now()
	var all []slot
	for c := range conns {
		all = c.slotless(all, now)
	}
	slices.SortFunc(all, func(a, b slot) int {
		return cmp.Or(a.from.Compare(b.from), a.sent.Compare(b.sent), cmp.Compare(a.conn.number, b.conn.number),
			cmp.Compare(a.index, b.index))
	})
	for _, s := range all {
		s.conn.giveSlot(s.index, r, l.send(s, r))
	}
	for c := range conns {
		c.kick()
	}
}

// send tells when the link has sent the segment. It is called with slots held.
func (l *Link) send(s slot, r *Rules) time.Time {
	if r.Bandwidth == 0 || s.bytes == 0 { // rules that were taken back meanwhile, about to be noticed; or an end
		return s.from
	}
	if l.busy.Before(s.from) {
		l.busy = s.from
	}
	took := time.Duration(float64(s.bytes) / float64(r.Bandwidth) * float64(time.Second))
	l.busy = l.busy.Add(max(took, time.Nanosecond))
	return l.busy
}

// reschedule has what is on the way arrive as the rules are now.
func (l *Link) reschedule(conns []*conn) {
	l.slots.Lock()
	defer l.slots.Unlock()
	l.busy = time.Time{}
	now := time.Now()
	for _, c := range conns {
		c.reschedule(now)
	}
}

// slotless appends the segments that were sent before now and have no slot.
func (c *conn) slotless(all []slot, now time.Time) []slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return all
	}
	q := c.out.queue
	first := len(q) // of those without a slot, which are the last: a long queue that has slots is not looked at again
	for first > 0 && q[first-1].slotless {
		first--
	}
	for _, s := range q[first:] {
		if !s.from.Before(now) {
			c.link.awaitSlot(c)
			break
		}
		all = append(all, slot{c, s.index, len(s.data), s.from, s.sent})
	}
	return all
}

// giveSlot has a segment leave at a time, if it is still there.
func (c *conn) giveSlot(index uint64, r *Rules, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.out.queue; len(q) > 0 && q[0].index <= index {
		c.leave(&q[index-q[0].index], r, at)
	}
}
