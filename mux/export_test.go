package mux

// SetDirect makes a session take its carrier for one that can go on after a deadline has interrupted a Write, as a TCP
// connection can, so that what applies to those can be tested in a bubble.
func SetDirect(s *Session) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.carrier.direct = true
}

// Raise gives a session the credit that a limit frame would.
func (s *Session) Raise(limit uint64) { s.w.raise(limit) }

// WindowSum is how many bytes of all streams may come and be kept now.
func (s *Session) WindowSum() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		n += uint64(st.window)
	}
	return n
}

// Window is how many bytes of a stream may be received and not read now.
func (st *Stream) Window() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return int(st.window)
}

// Queued is how many bytes wait to be written to the carrier.
func (s *Session) Queued() int { return s.w.queued() }

// ReadLeads tells whether a Read reads the carrier.
func (s *Session) ReadLeads() bool { return s.r.lead.state.Load() == leadRead }

// Starved is how many Writes wait for the session's credit.
func (s *Session) Starved() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.starved.Len()
}

// Unread is how many bytes of the stream have come and were not read.
func (st *Stream) Unread() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return int(st.received - st.read)
}

// Known is how many sessions an acceptor keeps, and how many of them it believes to be without a carrier.
func (a *Acceptor) Known() (sessions, waiting int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions), len(a.waiting)
}

// PingsWaiting is how many pings have had no answer.
func (s *Session) PingsWaiting() int {
	s.pings.mu.Lock()
	defer s.pings.mu.Unlock()
	return len(s.pings.waiting)
}

// Interrupt interrupts who reads the carrier.
func (s *Session) Interrupt() { s.r.interrupt() }

// Buffers is how much memory the writer has for what it queues.
func (s *Session) Buffers() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return cap(s.w.queue) + cap(s.w.spare)
}

// ControlBound is how many bytes of answers may wait.
const ControlBound = controlBound

// PretendAnswers makes a session count so many bytes of answers that the other end does not take.
func (s *Session) PretendAnswers(n int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.answers += n
}

// PretendCut makes a session believe that a Write to its carrier was interrupted.
func (s *Session) PretendCut() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.cut = true
}
