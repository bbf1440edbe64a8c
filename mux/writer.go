package mux

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/internal/queue"
)

const (
	// smallWrite is up to how many bytes are rather copied than waited for.
	smallWrite = 8 << 10
	// queueBound is how many bytes may be queued before small writes wait as large ones do.
	queueBound = 256 << 10
	// controlBound is how many bytes of frames may be queued that the other end makes us send, before it, which doesn't read
	// them, is taken for hostile. What the program sends doesn't count: it may open and close any number of streams at once.
	controlBound = queueBound + 1<<20
	// copyBatch is about how much of large writes is copied for one Write of a carrier that is not direct.
	copyBatch = 256 << 10
	// tlsRecord is the largest record of TLS, which most carriers that are not direct are.
	tlsRecord = 16 << 10
	// keepBuffer is how large a buffer a session at rest keeps.
	keepBuffer = 16 << 10
	// keepVec is how long a list of what is written it keeps.
	keepVec = 64
	// ownRounds is how often a Write that has the carrier writes for others too, before the flusher does.
	ownRounds = 4
	// openDelay is how long an open may wait for data to ride with it.
	openDelay = 300 * time.Microsecond
)

// A writer sends frames. What is small is copied to a queue; what is large is written from its caller's buffer. Who
// finds the carrier idle writes, and takes with it what is queued; others queue, or wait for the flusher, a
// goroutine, to write what they have. So one at most writes, and under load many frames go in one call.
//
// A carrier that can go on after a deadline has interrupted a Write is written to by callers and from their
// buffers (direct). To any other, such as TLS, the flusher writes copies: a Write must be able to return at its
// deadline, and must never touch its buffer after that.
//
// Its lock may be taken with a stream's or the session's held, not the other way round.
type writer struct {
	carrier *carrier
	fail    func(error) // the session's, called without mu

	// woken is how many streams the reader has woken or taken in lately: if several, their answers will come together, and
	// it pays to wait for them. A hint, hence no lock.
	woken atomic.Int32

	// flooded tells the reader that there are more answers than controlBound. It is set once, hence no lock.
	flooded atomic.Bool

	mu         sync.Mutex
	err        error   // nothing is written any more
	last       bool    // nothing more is queued; the flusher ends when all is written
	busy       bool    // somebody writes
	owner      *Stream // whose Write it is that writes
	cut        bool    // the carrier's deadline was set, to interrupt who writes
	rounds     uint64  // how many writes have begun
	queue      []byte  // frames
	answers    int     // bytes of those in queue that the other end makes us send
	spare      []byte  // memory for queue
	rest       []byte  // of a write that was interrupted
	large      queue.Queue[*sending]
	inFlight   []*sending // their payloads are on loan to the carrier
	ownHeaders [mostFrames][headerSize]byte
	vecMem     [][]byte    // memory of vec
	vec        net.Buffers // being written
	frame      int         // how many bytes of data go in one
	batch      int         // how much of large writes goes in one call
	flush      sync.Cond   // the flusher waits
	crowded    bool        // relieved is to be called when the queue is short again
	relieved   func()      // the session's, called without mu
	lazy       *time.Timer
	lazySet    bool

	// Of a session that can be resumed.
	kept     *retained // otherwise nil
	detached bool      // there is no carrier; what is to be written is only kept
	turn     uint64    // how many carriers have come
	lost     func(*carrier, *SessionError)
	lostOne  *carrier // has failed, and lost is still to be called
	lostErr  *SessionError

	sent, limit uint64                // bytes of all streams, and how many may be sent
	starved     queue.Queue[*sending] // those that wait for limit to grow
}

// A sending is a Write that waits: for the flusher to take its payload, or for credit.
type sending struct {
	cond   sync.Cond   // its lock is the writer's
	credit sync.Cond   // its lock is the stream's
	lead   *leadership // set while it counts there as waiting for credit; the stream's lock guards it
	item   queue.Item[*sending]
	header [headerSize]byte
	p      payload
	state  sendingState
}

type sendingState uint8

const (
	sendingWaits sendingState = iota
	sendingInFlight
	sendingDone
	sendingStopped // interrupted
)

var sendings = sync.Pool{New: func() any { return new(sending) }}

func (w *writer) init(c *carrier, fail func(error), relieved func()) {
	w.carrier, w.fail, w.relieved = c, fail, relieved
	w.flush.L = &w.mu
	w.limit = firstLimit
	w.frame = maxData
	w.batch = firstBatch
}

// data sends bytes of a stream as far as the session's credit goes, and returns how many were taken, 0 if the
// caller has to look again. If it can write them itself it takes more than go in a frame. It is called with the stream's lock
// held, and releases it: who interrupts, with both locks, either comes before that and is seen by the caller, or finds the
// stream as the owner or its sending.
func (w *writer) data(st *Stream, p payload) (n int) {
	w.mu.Lock()
	if w.sent == w.limit || !w.mayWrite() && !w.mayQueue(p.size) {
		st.needSending()
	}
	snd := st.sending
	st.mu.Unlock()

	if w.sent == w.limit && !w.shut() {
		// The stream may end just when there is credit: the caller has to look again whether it may write.
		st.s.r.lead.await()
		w.nudge()
		w.wait(snd, &w.starved)
		st.s.r.lead.awaited()
		w.mu.Unlock()
		return 0
	}
	if w.shut() {
		w.mu.Unlock()
		return 0
	}
	own := w.mayWrite()
	n = int(min(uint64(p.size), w.limit-w.sent))
	if !own {
		n = min(n, w.frame)
	}
	p.cut(n)
	w.sent += uint64(n)
	switch {
	case own:
		w.writeOwn(st, p)
		return n
	case w.mayQueue(n):
		w.queue = p.append(p.header().append(w.queue))
		w.kick()
	default:
		p.header().put(&snd.header)
		snd.p = p
		w.kick()
		if !w.wait(snd, &w.large) {
			w.sent -= uint64(n)
			w.feed()
			n = 0
		}
		snd.p = payload{}
	}
	w.mu.Unlock()
	return n
}

func (w *writer) shut() bool { return w.err != nil || w.last }

// mayWrite tells whether a Write may write to the carrier itself.
func (w *writer) mayWrite() bool {
	return w.carrier.direct && !w.busy && w.large.Len() == 0 && len(w.rest) == 0 &&
		(w.kept == nil || !w.detached && w.kept.unsent() == 0 && !w.kept.full())
}

func (w *writer) mayQueue(n int) bool {
	return n <= smallWrite && len(w.queue) < queueBound && (w.kept == nil || !w.kept.full())
}

// wait waits in q until another takes snd out of it and is done with it. It is false if snd was interrupted.
func (w *writer) wait(snd *sending, q *queue.Queue[*sending]) bool {
	snd.state = sendingWaits
	snd.item.Value = snd
	q.Push(&snd.item)
	for snd.state < sendingDone {
		snd.cond.Wait()
	}
	return snd.state == sendingDone
}

// wake makes the Write look again whether it may go on without credit. The stream's lock is held.
func (snd *sending) wake() {
	if snd.lead != nil {
		snd.lead.awaited()
		snd.lead = nil
	}
	snd.credit.Signal()
}

func (snd *sending) finish(s sendingState) {
	snd.state = s
	snd.cond.Signal()
}

// interrupt makes data return. The stream's lock is held.
func (w *writer) interrupt(st *Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	snd := st.sending
	switch {
	case w.owner == st:
		w.cutWrite()
	case snd == nil:
	case snd.item.In() != nil:
		snd.item.Leave()
		snd.finish(sendingStopped)
	case snd.state == sendingInFlight:
		w.cutWrite()
	}
}

// cutWrite interrupts who writes from a caller's buffer. What is left is copied, and the flusher goes on with it.
func (w *writer) cutWrite() {
	if w.carrier.direct && !w.cut {
		w.cut = true
		_ = w.carrier.net.SetWriteDeadline(aLongTimeAgo)
	}
}

// feed lets those go on who wait for credit of the session.
func (w *writer) feed() {
	for w.sent < w.limit && w.starved.Len() > 0 {
		w.starved.Pop().Value.finish(sendingDone)
	}
}

// raise raises the session's credit.
func (w *writer) raise(limit uint64) (useful bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit <= w.limit {
		return false
	}
	useful = limit-w.limit >= leastCredit
	w.limit = limit
	for w.starved.Len() > 0 {
		w.starved.Pop().Value.finish(sendingDone)
	}
	return useful
}

// allowFrames takes the other end's word on how many bytes a data frame may have.
func (w *writer) allowFrames(size uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frame = int(max(maxData, min(size, mostData)))
}

// plain queues a control frame without payload.
func (w *writer) plain(k kind, id uint64) {
	w.mu.Lock()
	if !w.shut() {
		w.queue = appendPlain(w.queue, k, id)
		w.answer(k, headerSize)
		w.kick()
	}
	w.mu.Unlock()
}

// answer counts a control frame that is queued.
func (w *writer) answer(k kind, size int) {
	switch k {
	case kindPong, kindCredit, kindLimit, kindAck:
		if w.answers += size; w.answers > controlBound {
			w.flooded.Store(true)
		}
	}
}

// value queues a control frame that has a number as its payload.
func (w *writer) value(k kind, id, value uint64) {
	w.mu.Lock()
	if !w.shut() {
		w.queue = appendValue(w.queue, k, id, value)
		w.answer(k, headerSize+8)
		w.kick()
	}
	w.mu.Unlock()
}

// open queues the beginning of a stream. Data that comes soon rides with it; or else it goes alone, unless soon is false.
func (w *writer) open(id uint64, soon bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut() {
		return
	}
	w.queue = appendPlain(w.queue, kindOpen, id)
	if !soon || w.lazySet {
		return
	}
	w.lazySet = true
	if w.lazy == nil {
		w.lazy = time.AfterFunc(openDelay, w.lazily)
	} else {
		w.lazy.Reset(openDelay)
	}
}

func (w *writer) lazily() {
	w.mu.Lock()
	w.lazySet = false
	if len(w.queue) > 0 {
		w.kick()
	}
	w.mu.Unlock()
}

// end queues the end of a stream.
func (w *writer) end(id uint64) {
	w.mu.Lock()
	if !w.shut() {
		w.queue = header{kind: kindData, flag: true, id: id}.append(w.queue)
		w.kick()
	}
	w.mu.Unlock()
}

// queued returns how many bytes wait.
func (w *writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// progress tells how many writes have begun, and whether one is in progress. If that is as it was the last time, since is
// how many there were then, the writer is at rest, and lets go of memory that a burst has left.
func (w *writer) progress(since uint64) (rounds uint64, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rounds == since && !w.busy {
		w.trim()
	}
	return w.rounds, w.busy
}

// trim lets go of large buffers that are empty.
func (w *writer) trim() {
	for _, b := range [...]*[]byte{&w.queue, &w.spare} {
		if len(*b) == 0 && cap(*b) > keepBuffer {
			*b = nil
		}
	}
	if cap(w.vecMem) > keepVec {
		w.vecMem, w.vec = nil, nil
	}
	if cap(w.inFlight) > keepVec {
		w.inFlight = nil
	}
	if cap(w.carrier.frames) > keepVec {
		w.carrier.frames = nil
	}
}

// finish queues the last frame.
func (w *writer) finish(frame []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.shut() {
		w.queue = append(w.queue, frame...)
		w.last = true
	}
	w.stop()
}

// abort makes everything that is to be written fail.
func (w *writer) abort(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.stop()
}

// stop ends the waits of those who have not begun.
func (w *writer) stop() {
	for _, q := range [...]*queue.Queue[*sending]{&w.starved, &w.large} {
		for q.Len() > 0 {
			q.Pop().Value.finish(sendingStopped)
		}
	}
	if w.lazy != nil {
		w.lazy.Stop()
	}
	w.flush.Signal()
}

// writeOwn writes a payload, and what is queued, to the idle carrier, from the goroutine of a stream's Write. It releases the
// lock.
func (w *writer) writeOwn(st *Stream, p payload) {
	w.busy, w.owner = true, st
	if p.size <= smallWrite {
		w.queue = p.append(p.header().append(w.queue))
		p = payload{}
		w.gather()
	}
	for i := 0; ; i++ {
		w.round(p)
		p = payload{}
		if i == ownRounds || len(w.queue) == 0 || w.err != nil || w.detached || w.interrupted() {
			break
		}
	}
	w.busy, w.owner = false, nil
	if w.pending() || w.last || w.err != nil {
		w.flush.Signal()
	}
	w.leave()
}

// interrupted tells whether a write was cut short. The flusher goes on with it: the Write that had the carrier has to return.
func (w *writer) interrupted() bool {
	return len(w.rest) > 0 || w.kept != nil && w.kept.unsent() > 0
}

// gather lets others queue what they have, if several are about to.
func (w *writer) gather() {
	if w.woken.Load() > 1 {
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
}

// leave releases the lock, and ends the session if the carrier has failed.
func (w *writer) leave() {
	w.report()
	w.relieve()
	err := w.err
	w.mu.Unlock()
	if err != nil {
		w.fail(err)
	}
}

// crowd tells whether so much is queued that nothing should be done that lets the other end cause more. If so,
// relieved is called later.
func (w *writer) crowd() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crowded = w.crowded || len(w.queue) > queueBound
	return w.crowded
}

// relieve calls relieved if it is time. The lock is released meanwhile.
func (w *writer) relieve() {
	if !w.crowded || len(w.queue) > queueBound/2 {
		return
	}
	w.crowded = false
	w.mu.Unlock()
	w.relieved()
	w.mu.Lock()
}

// pending tells whether there is anything to write.
func (w *writer) pending() bool {
	if k := w.kept; k != nil {
		return len(w.queue) > 0 || w.large.Len() > 0 && !k.full() || k.unsent() > 0 && !w.detached
	}
	return len(w.queue)+len(w.rest)+w.large.Len() > 0
}

// nudge is for who is about to wait for credit: the beginning of its stream may be queued.
func (w *writer) nudge() {
	if len(w.queue) > 0 {
		w.kick()
	}
}

// kick makes the flusher write, or who writes already.
func (w *writer) kick() {
	if !w.busy {
		w.flush.Signal()
	}
}

// run is the flusher's goroutine. It ends when the last has been written, or the carrier has failed.
func (w *writer) run() {
	w.mu.Lock()
	for w.err == nil && (w.busy || w.pending() || !w.last) {
		if w.busy || !w.pending() {
			w.flush.Wait()
			continue
		}
		w.busy = true
		w.gather()
		w.round(payload{})
		w.busy = false
		w.report()
		w.relieve()
	}
	w.leave()
}

// round writes once: what is left of an interrupted write; or else what is queued, and either the payload p or as
// many of the large writes as go into a batch. The lock is released meanwhile. Only who has set busy may call it.
func (w *writer) round(p payload) {
	if w.err != nil {
		return
	}
	if w.kept != nil {
		w.keepRound(p)
		return
	}
	w.rounds++
	out := w.rest
	w.rest = nil
	w.vecMem = w.vecMem[:0]
	if out == nil {
		out = w.queue
		w.queue, w.spare, w.answers = w.spare, nil, 0
		switch {
		case p.size > 0:
			w.vecMem = p.appendFrames(append(w.vecMem, out), &w.ownHeaders, w.frame)
		case w.carrier.direct:
			w.vecMem = append(w.vecMem, out)
			w.loan()
		default:
			out = w.holdTail(w.copyLarge(out))
			w.vecMem = append(w.vecMem, out)
		}
	} else {
		w.vecMem = append(w.vecMem, out)
	}
	direct := w.carrier.direct
	w.mu.Unlock()

	if !direct && len(out) > smallWrite {
		runtime.Gosched() // whose bytes were copied can queue the next, for when these have been written
	}

	start := time.Time{}
	if len(w.inFlight) > 1 {
		start = time.Now()
	}
	n, err := w.writeVec()

	w.mu.Lock()
	if w.cut {
		w.cut = false
		_ = w.carrier.net.SetWriteDeadline(time.Time{})
	}
	switch {
	case err == nil && !start.IsZero():
		w.adapt(n, time.Since(start))
	case err == nil || w.err != nil:
	case w.carrier.direct && errors.Is(err, os.ErrDeadlineExceeded):
		for _, b := range w.vec {
			w.rest = append(w.rest, b...)
		}
	default:
		w.err = carrierError("write", err)
	}
	for i, snd := range w.inFlight {
		snd.finish(sendingDone)
		w.inFlight[i] = nil
	}
	w.inFlight = w.inFlight[:0]
	clear(w.vecMem)
	if c := cap(out); c <= keepBuffer || len(out) > c/8 {
		w.spare = out[:0]
	}
}

// writeVec writes vecMem. What was not written is in vec then.
func (w *writer) writeVec() (n int64, err error) {
	if len(w.vecMem[0]) == 0 {
		w.vec = w.vecMem[1:]
	} else {
		w.vec = w.vecMem
	}
	if len(w.vec) == 1 {
		k, err := w.carrier.Write(w.vec[0])
		if k < len(w.vec[0]) && err == nil {
			err = io.ErrShortWrite
		}
		w.vec[0] = w.vec[0][k:]
		return int64(k), err
	}
	return w.carrier.writeVec(&w.vec)
}

const (
	maxBatch = 4 << 20
	// firstBatch must go in the time in which a carrier counts as alive, on a slow path too.
	firstBatch = 512 << 10
	minBatch   = maxData
	// batchTime is about how long the write of a batch may take: a small message may wait for one.
	batchTime = time.Millisecond
)

// loan adds large writes to what is written, from their callers' buffers.
func (w *writer) loan() {
	for n := 0; n < w.batch && w.large.Len() > 0; {
		snd := w.large.Pop().Value
		snd.state = sendingInFlight
		w.inFlight = append(w.inFlight, snd)
		w.vecMem = snd.p.appendVec(append(w.vecMem, snd.header[:]))
		n += snd.p.size
	}
}

// copyLarge adds large writes to out.
func (w *writer) copyLarge(out []byte) []byte {
	for n := 0; n < copyBatch && w.large.Len() > 0; {
		snd := w.large.Pop().Value
		out = snd.p.append(append(out, snd.header[:]...))
		n += snd.p.size
		snd.finish(sendingDone)
	}
	return out
}

// holdTail keeps the last bytes of what is to be written back, if they would be a small record of TLS for themselves, which
// costs about as much as a large one: they go with what comes next, or alone right after the others.
func (w *writer) holdTail(out []byte) []byte {
	tail := len(out) % tlsRecord
	if tail == len(out) || tail > tlsRecord/16 {
		return out
	}
	w.queue = append(w.queue, out[len(out)-tail:]...)
	return out[:len(out)-tail]
}

// adapt sets the size of batches by how long one of n bytes took.
func (w *writer) adapt(n int64, took time.Duration) {
	fit := maxBatch
	if took > 0 {
		fit = int(min(maxBatch, float64(n)*float64(batchTime)/float64(took)))
	}
	w.batch = max(minBatch, (3*w.batch+fit)/4)
}

// aLongTimeAgo is a deadline that interrupts what waits on a carrier.
var aLongTimeAgo = time.Unix(1, 0)
