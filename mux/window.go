package mux

import "time"

// A tuner adapts the window of a stream to what its reader and the path need: twice what is read in a round trip. The
// round trip time is the least of late, since a window that is too large makes its own queue, and with it longer
// round trips.
type tuner struct {
	since  time.Time // when read was mark, and the window was
	mark   uint64
	window uint32
	grown  uint32 // by how much the window is larger than in the beginning
}

const (
	// tuneEvery is the least time to measure the rate over: it comes in bursts.
	tuneEvery = 5 * time.Millisecond
	// Below handyWindow, round trips count as no shorter than handyRoundTrip: what takes time there is to wake
	// goroutines. Larger windows than that leave the processor's cache, so only the path can make them worth it.
	handyWindow    = 512 << 10
	handyRoundTrip = 500 * time.Microsecond
	// The same for carriers that take time themselves, as to encrypt: that keeps both ends' processors from the
	// network, and the cache matters less.
	slowWindow    = 4 << 20
	slowRoundTrip = 2 * time.Millisecond
	// carrierWindow is the window of a stream that carries a session, to begin with: it bounds what it keeps by itself, and
	// reads at any time.
	carrierWindow = 4 << 20
	// farAway is from how long a round trip on a path counts as long.
	farAway = time.Millisecond
)

// tune is called when credit is given.
func (st *Stream) tune() {
	t := &st.extra().tuner
	now := time.Now()
	if t.since.IsZero() {
		t.since, t.mark, t.window = now, st.read, st.window
		return
	}
	rtt := st.s.pathRTT()
	if window, least := st.s.handy(); st.window < window {
		rtt = max(rtt, least)
	}
	took := now.Sub(t.since)
	if took < max(rtt, tuneEvery) || rtt == 0 {
		return
	}
	// What was read in this time was sent by the credit of a round trip before. Of that, a quarter may not have
	// been used.
	if less := min(st.s.excess(st.window), t.grown); less > 0 {
		t.shrink(st, less)
		t.since, t.mark, t.window = now, st.read, st.window
		return
	}
	window := float64(st.window)
	if took < 3*rtt {
		window = float64(t.window)
	}
	switch target := 2 * float64(st.read-t.mark) * float64(rtt) / float64(took); {
	case target > 1.4*window:
		more := st.s.growWindow(st.window)
		t.grown += more
		t.since, t.mark, t.window = now, st.read, st.window
		st.window += more
		return
	case target < window/3 && t.grown > 0:
		t.shrink(st, min(st.window/2, t.grown))
	}
	t.since, t.mark, t.window = now, st.read, st.window
}

// shrink takes back some of what the window of a stream has grown.
func (t *tuner) shrink(st *Stream, less uint32) {
	st.window -= less
	t.grown -= less
	st.s.grown.Add(-int64(less))
}

// carry makes the window that of a stream which carries a session. It does not count as grown, as nothing lies unread in it.
func (st *Stream) carry() {
	lim := st.s.live.Load()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.flags |= streamCarries
	window := uint32(min(carrierWindow, lim.MaxStreamWindow, lim.SessionWindow/8))
	if st.recvState != recvOpen || window <= st.window {
		return
	}
	st.window = window
	if most := st.read + uint64(window); most > st.recvMax {
		st.recvMax = most
		st.s.w.value(kindCredit, st.id, most)
	}
}

// handy tells up to which window round trips count as no shorter than the least.
func (s *Session) handy() (window uint32, least time.Duration) {
	if s.current().quick() {
		return handyWindow, handyRoundTrip
	}
	return slowWindow, slowRoundTrip
}

// creditDue tells whether to give credit: when half of the window has been read. On a long path that would leave up to
// half of the window unused, since what comes in one burst is read in one go, and whatever is left over waits for a round trip.
func (st *Stream) creditDue() bool {
	left := st.recvMax - st.read
	if st.s.far.Load() {
		return left <= uint64(st.window)/4*3
	}
	return left <= uint64(st.window)/2
}

// untune gives back what the window has grown.
func (st *Stream) untune() {
	if g := st.x.tuner.grown; g > 0 {
		st.x.tuner.grown = 0
		st.s.grown.Add(-int64(g))
	}
}

// growWindow tells by how much a window may grow. All windows together may grow by half of what the session may
// buffer, so that the other half is for the first bytes of streams.
func (s *Session) growWindow(window uint32) uint32 {
	lim := s.live.Load()
	most := uint32(lim.MaxStreamWindow)
	more := min(window, most-min(window, most))
	if more == 0 {
		return 0
	}
	for {
		grown := s.grown.Load()
		if grown+int64(more) > int64(lim.SessionWindow/2) {
			return 0
		}
		if s.grown.CompareAndSwap(grown, grown+int64(more)) {
			return more
		}
	}
}

// excess tells by how much a window is larger than limits allow that have been lowered since it grew.
func (s *Session) excess(window uint32) uint32 {
	lim := s.live.Load()
	if most := uint32(lim.MaxStreamWindow); window > most {
		return window - most
	}
	if s.grown.Load() > int64(lim.SessionWindow/2) {
		return window / 2
	}
	return 0
}
