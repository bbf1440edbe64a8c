package mux

import "time"

// A floodGate counts frames that cost the other end nothing and lead nowhere: data without bytes, credit that
// raises nothing, frames of streams that have ended. Some of each come in any session, and of the last kind a few for
// every stream, which may all come when many streams end at once.
type floodGate struct {
	n       int
	since   time.Time
	streams uint64 // that there had been then
	left    uint64 // of what streams before that may have, and have not had
}

const (
	floodMost      = 10_000 // in floodTime
	floodTime      = 10 * time.Second
	floodPerStream = 4
	leastCredit    = 1 << 10 // less credit at once leads nowhere: an end gives it for a good part of a window
)

// nothing counts a frame. The error ends the session, if there are too many.
func (r *reader) nothing() error {
	g := &r.useless
	if g.n++; g.n < floodMost {
		return nil
	}
	now, streams := time.Now(), r.s.numOpened()
	left := g.left + floodPerStream*(streams-g.streams)
	if now.Sub(g.since) < floodTime {
		if uint64(g.n) > left {
			return protocolErrorf(codeFlood, "too many frames without effect")
		}
		left -= uint64(g.n)
	}
	*g = floodGate{since: now, streams: streams, left: left}
	return nil
}

func (r *reader) effect(useful bool) error {
	if !useful {
		return r.nothing()
	}
	return nil
}

// numOpened returns how many streams there have ever been.
func (s *Session) numOpened() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens + s.seen
}
