package mux

import (
	"sync"
	"sync/atomic"
	"time"
)

// A leadership says who reads the carrier. Usually that is the session's goroutine, and wakes who waits for what has come. Where
// something comes for one Read at a time, as in a series of requests and answers, it is faster if the Read reads the carrier
// itself: then nobody need be woken. So the goroutine rests once it has seen that for a while, and Reads lead: each until it
// has something to return. Between two of them nobody reads, usually for microseconds, and whatever else comes waits. That must
// not be long: the goroutine leads again
//
//   - at once, if anybody else begins to wait for something, Accept aside, or waits when a Read leaves;
//   - when no Read has come to lead for a millisecond or two, or some more if many had led in short order. Then it rests less
//     readily the next time, unless many had led.
//
// Those who have waited all the while that something came for one stream alone are patient: they are no reason for it.
type leadership struct {
	r *reader

	// The leader's.
	stream *Stream // whose Read leads; nil if the goroutine does
	last   *Stream // that was woken last
	streak int     // how many reads of the carrier in a row have woken one alone
	steady int     // how many have woken this stream alone

	// waiting counts those who wait for something that comes, who leads and Accepts aside; patient, how many of them are.
	waiting atomic.Int32
	patient atomic.Int32
	state   atomic.Int32
	terms   atomic.Uint32 // how many Reads have led
	armed   atomic.Bool   // the timer runs

	mu     sync.Mutex
	cond   sync.Cond // the goroutine rests
	timer  *time.Timer
	seen   uint32 // terms, when the timer fired last
	began  uint32 // terms, when the goroutine began to rest
	enough int    // how long a streak has to be for the goroutine to rest
	every  time.Duration
	err    error // that a Read has met
	closed bool
}

// States of leadership.
const (
	leadOwn    int32 = iota // the goroutine's
	leadVacant              // nobody's
	leadRead                // a Read's
	leadWanted              // a Read's; the goroutine is next
)

const (
	firstStreak = 16
	// steadyStreak is how long one stream must have been the only one, for others that wait to be patient.
	steadyStreak = 64
	mostStreak   = 1 << 20
	// vacancy is how often to look whether nobody leads. A timer in every gap would cost more than is gained. But one that is due
	// soon makes each wait of the process for the network dearer: a round trip between two processes takes half as long again. So it
	// is looked less often, up to mostVacancy, while quickTerms Reads or more lead between two looks.
	vacancy     = time.Millisecond
	mostVacancy = 16 * time.Millisecond
	quickTerms  = 16
)

func (l *leadership) init(r *reader) {
	l.r = r
	l.cond.L = &l.mu
	l.enough = firstStreak
	l.every = vacancy
}

// woke notes that a stream was woken.
func (l *leadership) woke(st *Stream) {
	if st != l.last {
		l.last, l.steady = st, 0
	}
}

// look is called before the carrier is read, with how many streams were woken since the last time.
func (l *leadership) look(woken int32) {
	switch {
	case woken == 1:
		l.streak++
		l.steady++
	case woken > 1:
		l.streak, l.steady = 0, 0
	}
}

// mayRest tells the goroutine whether to rest.
func (l *leadership) mayRest() bool {
	return l.streak >= firstStreak && (l.steady >= steadyStreak || l.waiting.Load() == 0) && l.r.r == l.r.w && l.r.carrier.stops
}

// rest lets Reads lead, until the goroutine is needed again. The error is one that ends the session.
func (l *leadership) rest() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streak < l.enough || l.closed {
		return nil
	}
	if l.steady >= steadyStreak {
		l.bePatient()
	}
	l.began = l.terms.Load()
	l.state.Store(leadVacant)
	if l.impatient() {
		l.fill()
	} else {
		l.arm(l.every)
	}
	for l.state.Load() != leadOwn {
		l.cond.Wait()
	}
	l.streak, l.steady = 0, 0
	l.patient.Store(0)
	err := l.err
	l.err = nil
	return err
}

// bePatient makes those patient who wait now. If one leaves meanwhile, it may not have seen that it was.
func (l *leadership) bePatient() {
	for {
		n := l.waiting.Load()
		l.patient.Store(n)
		if l.waiting.Load() >= n {
			return
		}
	}
}

// fill makes the goroutine lead, if nobody does. Lock held.
func (l *leadership) fill() {
	if l.state.CompareAndSwap(leadVacant, leadOwn) {
		l.cond.Signal()
	}
}

// arm makes tick look, after d, whether Reads come back. Lock held.
func (l *leadership) arm(d time.Duration) {
	l.armed.Store(true)
	l.seen = l.terms.Load()
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.tick)
	} else {
		l.timer.Reset(d)
	}
}

// impatient tells whether somebody waits for whom the goroutine is to lead.
func (l *leadership) impatient() bool { return l.waiting.Load() > l.patient.Load() }

// tick looks whether Reads come back to lead.
func (l *leadership) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed.Store(false)
	terms := l.terms.Load()
	switch state := l.state.Load(); {
	case state == leadOwn || l.closed:
	case state == leadVacant && terms == l.seen:
		// It has paid if many Reads have led; a pause comes after anything.
		if terms-l.began >= uint32(4*l.enough) {
			l.enough = firstStreak
			l.every = max(l.every/2, vacancy)
		} else {
			l.enough = min(2*l.enough, mostStreak)
			l.every = vacancy
		}
		l.fill()
	case state == leadVacant || terms != l.seen:
		if terms-l.seen >= quickTerms {
			l.every = min(2*l.every, mostVacancy)
		}
		if state == leadVacant { // perhaps a pause has begun
			l.arm(vacancy)
		} else {
			l.arm(l.every)
		}
	}
	// Else a Read leads that waits for long. It sets the timer when it leaves, or has left and sees that it is not set.
}

// take makes a Read of the stream the leader, if there is none.
func (l *leadership) take(st *Stream) bool {
	if l.state.Load() != leadVacant || !l.state.CompareAndSwap(leadVacant, leadRead) {
		return false
	}
	l.stream = st
	return true
}

// read leads until the stream's Read has something to return, or was interrupted.
func (l *leadership) read(st *Stream) {
	for {
		err := l.r.frame()
		if err == errInterrupted {
			break
		}
		if err != nil {
			l.fail(err)
			return
		}
		if st.hasNews() && !l.r.hasFrame() {
			break
		}
	}
	l.stream = nil
	l.terms.Add(1)
	if !l.state.CompareAndSwap(leadRead, leadVacant) {
		l.fail(nil) // the goroutine is wanted
		return
	}
	if impatient := l.impatient(); impatient || !l.armed.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case impatient || l.closed:
			l.fill()
		case !l.armed.Load():
			l.arm(l.every)
		}
	}
}

// fail hands the leadership of a Read over to the goroutine, with an error.
func (l *leadership) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = nil
	l.err = err
	l.state.Store(leadOwn)
	l.cond.Signal()
}

// await is called by who begins to wait for something that comes. The goroutine leads then, once no Read does.
func (l *leadership) await() {
	if l.waiting.Add(1) > l.patient.Load() {
		l.recall()
	}
}

// awaited ends await. Who has got what it waited for is not patient the next time: there are no more patient ones than have
// waited all the while.
func (l *leadership) awaited() {
	left := l.waiting.Add(-1)
	for patient := l.patient.Load(); patient > left; patient = l.patient.Load() {
		if l.patient.CompareAndSwap(patient, left) {
			return
		}
	}
}

// recall makes the goroutine lead, once no Read does.
func (l *leadership) recall() {
	for {
		switch l.state.Load() {
		case leadOwn, leadWanted:
			return
		case leadRead:
			if l.state.CompareAndSwap(leadRead, leadWanted) {
				return
			}
		default:
			l.mu.Lock()
			l.fill()
			l.mu.Unlock()
		}
	}
}

// close makes the goroutine lead for ever, as the session has ended.
func (l *leadership) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.recall()
}

// hasFrame tells whether a whole frame was read already. It must not wait for the next Read: it may be for somebody
// else.
func (r *reader) hasFrame() bool {
	if r.left > 0 || r.w-r.r < headerSize {
		return false
	}
	return r.w-r.r >= headerSize+parseHeader(r.buf[r.r:]).size
}
