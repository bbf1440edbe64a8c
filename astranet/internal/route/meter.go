package route

import (
	"math/bits"
	"time"
)

// hold is how long an advertised cost stays at least: every node of the mesh hears of a change.
const hold = 10 * time.Second

// A Meter makes the cost of a link of its round trips. The cost is coarse and lags behind: it changes only when the smoothed
// round trip has left what is advertised by a quarter and 100 µs, and ten seconds after the last change. The zero value is a
// Meter that has measured nothing. It has one user.
type Meter struct {
	smooth time.Duration
	cost   uint32
	since  time.Time
}

// Sample takes a round trip, measured now, and returns the cost to advertise. The first one counts as it is, of the others each an
// eighth.
func (m *Meter) Sample(rtt time.Duration, now time.Time) (cost uint32) {
	rtt = max(rtt, 0)
	if m.cost == 0 {
		m.smooth = rtt
		m.cost, m.since = quantise(rtt), now
		return m.cost
	}
	m.smooth += (rtt - m.smooth) / 8
	told := time.Duration(m.cost) * time.Microsecond
	if (m.smooth-told).Abs() > told/4+100*time.Microsecond && now.Sub(m.since) >= hold {
		m.cost, m.since = quantise(m.smooth), now
	}
	return m.cost
}

// Cost returns the cost to advertise, 0 if there has been no sample.
func (m *Meter) Cost() uint32 { return m.cost }

// quantise returns a time in microseconds, 1 at least, rounded to three significant bits: in steps of 12 to 25 %.
func quantise(d time.Duration) uint32 {
	us := uint64(min(max(d.Microseconds(), 1), 1<<31))
	if shift := bits.Len64(us) - 3; shift > 0 {
		us = (us + 1<<(shift-1)) >> shift << shift
	}
	return uint32(us)
}
