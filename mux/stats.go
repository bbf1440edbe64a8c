package mux

import "time"

// Stats is what a session has done and holds, at a moment.
type Stats struct {
	Streams  int           // open, those that wait for Accept included
	Opened   uint64        // by this end, in all
	Accepted uint64        // by this end, in all
	Sent     uint64        // bytes of streams
	Received uint64        // bytes of streams
	Unread   uint64        // bytes of streams that have come and wait to be read
	RTT      time.Duration // of the last ping
	PathRTT  time.Duration // the least of late, which leaves out what waiting in queues adds
	Resumed  uint64        // how often the session has gone on with a new carrier
	Retained int           // bytes kept until the other end has acknowledged them
}

// Stats returns how the session is. Its fields are of slightly different moments.
func (s *Session) Stats() Stats {
	var t Stats
	read := s.consumedTotal.Load()
	t.Received = s.r.received.Load()
	t.Unread = t.Received - min(read, t.Received)
	s.mu.Lock()
	t.Streams, t.Opened, t.Accepted = len(s.streams), s.opens, s.taken
	s.mu.Unlock()
	s.w.mu.Lock()
	t.Sent = s.w.sent
	if s.w.kept != nil {
		t.Retained = s.w.kept.size()
	}
	s.w.mu.Unlock()
	s.pings.mu.Lock()
	t.RTT, t.PathRTT = s.pings.rtt, s.pings.least
	s.pings.mu.Unlock()
	if s.res != nil {
		t.Resumed = s.res.resumed.Load()
	}
	return t
}
