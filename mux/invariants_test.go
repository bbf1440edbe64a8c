package mux

import (
	"errors"
	"fmt"
	"math"
)

// Check tells which of the things that are always true of a session is not, at a moment when other goroutines may use
// it. After each step of a test that does one thing at a time, see also [CheckPair].
func (s *Session) Check() error {
	s.mu.Lock()
	open := s.all()
	s.mu.Unlock()
	errs := []error{s.checkStreams(), s.w.check()}
	for _, st := range open {
		errs = append(errs, st.check())
	}
	return errors.Join(errs...)
}

// A complaint collects what is wrong with an object.
type complaint struct {
	of   string
	errs []error
}

func (c *complaint) unless(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(c.of+": "+format, args...))
	}
}

// checkStreams checks what the session knows of its streams.
func (s *Session) checkStreams() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &complaint{of: "session"}
	waiting := uint64(0)
	var last *Stream
	for st := s.firstWaiting; st != nil && waiting <= s.seen; st = st.next {
		waiting, last = waiting+1, st
	}
	c.unless(waiting == s.seen-s.taken, "%d streams wait for Accept, %d were opened and %d taken", waiting, s.seen, s.taken)
	c.unless(last == s.lastWaiting, "the last stream in the queue is not the last waiting")
	c.unless(s.taken <= s.seen && s.closed <= s.seen && s.seen <= s.granted, "seen %d, taken %d, closed %d, granted %d",
		s.seen, s.taken, s.closed, s.granted)
	c.unless(s.opens <= s.maxOpens, "%d streams are opened of %d allowed", s.opens, s.maxOpens)
	own, other := uint64(2), uint64(1)
	if s.client {
		own, other = 1, 2
	}
	c.unless(s.nextOwn == own+2*s.opens && s.nextOther == other+2*s.seen, "the next ids are %d after %d opens, and %d after %d",
		s.nextOwn, s.opens, s.nextOther, s.seen)
	incoming := uint64(0)
	for id, st := range s.streams {
		c.unless(st.id == id, "stream %d is known as %d", st.id, id)
		c.unless(id%2 == own%2 && id < s.nextOwn || id%2 == other%2 && id < s.nextOther, "nobody has opened stream %d", id)
		if id%2 == other%2 {
			incoming++
		}
	}
	c.unless(incoming <= s.seen-s.closed, "%d streams of the other end are known, %d of %d closed", incoming, s.closed, s.seen)
	return errors.Join(c.errs...)
}

// check checks what a stream knows of itself.
func (st *Stream) check() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	c := &complaint{of: fmt.Sprintf("stream %d", st.id)}
	c.unless(st.sent <= st.sendMax, "%d bytes sent of %d allowed", st.sent, st.sendMax)
	c.unless(st.received <= st.recvMax, "%d bytes received of %d allowed", st.received, st.recvMax)
	n, err := st.unread.check()
	c.unless(err == nil, "unread bytes: %v", err)
	c.unless(st.read+uint64(n) <= st.received, "%d bytes read and %d unread, of %d", st.read, n, st.received)
	c.unless(st.recvState == recvOpen || st.recvState == recvEnded || n == 0, "%d bytes are kept that nobody can read", n)
	c.unless((st.reading != nil) == (st.flags&streamReading != 0), "a Read waits: %v, one has the turn: %v",
		st.reading != nil, st.flags&streamReading != 0)
	c.unless(st.sending == nil || st.flags&streamWriting != 0, "a Write waits that has not the turn")
	c.unless(st.sendState != sendReset || st.x != nil && st.x.sendErr != nil, "sending was reset and nobody knows why")
	c.unless(st.recvState != recvReset || st.x != nil && st.x.recvErr != nil, "receiving was reset and nobody knows why")
	ended := st.sendState != sendOpen && st.recvState != recvOpen && st.recvState != recvClosed
	gone := st.flags&streamGone != 0
	c.unless(ended == gone, "both directions have ended: %v, but gone: %v", ended, gone)
	st.s.mu.Lock()
	_, known := st.s.streams[st.id]
	st.s.mu.Unlock()
	c.unless(known != gone, "gone: %v, and known to the session: %v", gone, known)
	if st.x != nil {
		grown := st.x.tuner.grown
		c.unless(st.window == st.s.firstWindow+grown || gone, "the window is %d, grown by %d", st.window, grown)
	}
	c.unless(st.flags&streamClosed == 0 || st.sendState != sendOpen && st.recvState >= recvClosed, "closed, and in states %d and %d",
		st.sendState, st.recvState)
	return errors.Join(c.errs...)
}

// check checks the ring of chunks, and counts its bytes.
func (b *backlog) check() (n int, err error) {
	if b.last == nil {
		return 0, nil
	}
	for c := b.last.next; ; c = c.next {
		if c.r < 0 || c.r >= c.w || c.w > len(c.buf) {
			return n, fmt.Errorf("a chunk of %d bytes has [%d:%d]", len(c.buf), c.r, c.w)
		}
		if n += c.w - c.r; n > math.MaxInt32 {
			return n, errors.New("the ring of chunks leads elsewhere")
		}
		if c == b.last {
			return n, nil
		}
	}
}

// check checks the queues of a writer.
func (w *writer) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &complaint{of: "writer"}
	c.unless(w.sent <= w.limit, "%d bytes sent of %d allowed", w.sent, w.limit)
	c.unless(w.busy || w.owner == nil && len(w.inFlight) == 0, "nobody writes what is being written")
	c.unless(!w.shut() || w.starved.Len() == 0 && w.large.Len() == 0, "something waits for the carrier after the end")
	if w.kept != nil {
		err := w.kept.check()
		c.unless(err == nil, "what is kept: %v", err)
	}
	return errors.Join(c.errs...)
}

// CheckPair checks what is true of both ends of a session when everything that was sent has arrived, and no Read or
// Write is about to return.
func CheckPair(a, b *Session) error {
	errs := []error{a.Check(), b.Check()}
	for _, ends := range [][2]*Session{{a, b}, {b, a}} {
		errs = append(errs, checkQuiet(ends[0]), checkCredit(ends[0], ends[1]))
	}
	return errors.Join(errs...)
}

// checkQuiet checks sums over all streams.
func checkQuiet(s *Session) error {
	s.mu.Lock()
	open := s.all()
	s.mu.Unlock()
	unread, grown := 0, int64(0)
	for _, st := range open {
		st.mu.Lock()
		n, _ := st.unread.check()
		unread += n
		if st.x != nil {
			grown += int64(st.x.tuner.grown)
		}
		st.mu.Unlock()
	}
	c := &complaint{of: "session"}
	received, read := s.r.received.Load(), s.consumedTotal.Load()
	// Streams that have ended and have unread bytes are not known any more.
	c.unless(read+uint64(unread) <= received, "%d bytes read and %d unread, of %d", read, unread, received)
	c.unless(s.grown.Load() == grown, "windows have grown by %d, and the sum is %d", grown, s.grown.Load())
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	c.unless(!s.w.busy && !s.w.pending(), "the writer has not come to rest: %d bytes queued", len(s.w.queue)+len(s.w.rest))
	return errors.Join(c.errs...)
}

// checkCredit checks what the sender a believes that it may send against what b allows.
func checkCredit(a, b *Session) error {
	c := &complaint{of: "credit"}
	a.w.mu.Lock()
	limit, sent := a.w.limit, a.w.sent
	a.w.mu.Unlock()
	a.mu.Lock()
	opens, maxOpens := a.opens, a.maxOpens
	open := a.all()
	a.mu.Unlock()
	b.mu.Lock()
	seen, granted := b.seen, b.granted
	b.mu.Unlock()
	c.unless(limit == b.allowed.Load(), "the session's limit is %d for the sender, %d for the receiver", limit, b.allowed.Load())
	c.unless(sent == b.r.received.Load(), "%d bytes were sent, %d received", sent, b.r.received.Load())
	c.unless(maxOpens == granted, "%d streams may be opened by the word of the acceptor, %d by that of the opener", granted, maxOpens)
	c.unless(opens == seen, "%d streams were opened, and %d seen", opens, seen)
	for _, st := range open {
		b.mu.Lock()
		other := b.streams[st.id]
		b.mu.Unlock()
		if other == nil {
			c.unless(false, "stream %d is known to one end only", st.id)
			continue
		}
		sent, sendMax := st.sentAndMax()
		received, recvMax := other.receivedAndMax()
		c.unless(sent == received, "of stream %d, %d bytes were sent and %d received", st.id, sent, received)
		c.unless(sendMax == recvMax || other.recvEnding(), "of stream %d, %d bytes may be sent and %d received", st.id, sendMax, recvMax)
	}
	return errors.Join(c.errs...)
}

func (st *Stream) sentAndMax() (sent, sendMax uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.sent, st.sendMax
}

func (st *Stream) receivedAndMax() (received, recvMax uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.received, st.recvMax
}

func (st *Stream) recvEnding() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.recvState != recvOpen
}
