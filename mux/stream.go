package mux

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Stream is one of the ordered, reliable byte streams of a session: a net.Conn with what QUIC's streams have more (RFC
// 9000, sections 2 and 3). Its two directions end independently. It is safe for concurrent use; one Read and one
// Write run at a time, others wait for them.
//
// Errors are *net.OpError, except for io.EOF. Their cause is a *StreamError if an end has reset the stream or reads no
// more, a *SessionError if the session has ended, net.ErrClosed, or os.ErrDeadlineExceeded. What was received before
// the session ended can be read before the error is.
//
// A Stream must be closed, or it counts as open for ever.
//
// At rest it has no goroutine, no timer, no channel and no buffer.
type Stream struct {
	s  *Session
	id uint64

	next *Stream // in the queue of those that wait for Accept; the session's lock guards it

	mu        sync.Mutex
	sendState sendState
	recvState recvState
	flags     streamFlags
	window    uint32   // how many bytes may be received and not read
	sent      uint64   // how many bytes were given to the writer
	sendMax   uint64   // how many may be, by the other end's word
	received  uint64   // how many bytes have come
	recvMax   uint64   // how many may come, by ours
	read      uint64   // how many of them were read
	unread    backlog  // the others
	reading   *reading // a Read waits, or did a moment ago
	sending   *sending // a Write waits, or did a moment ago
	x         *extra   // what most streams don't need
}

// sendState is what we may still send.
type sendState uint8

const (
	sendOpen  sendState = iota // bytes, fin, reset
	sendEnded                  // nothing: fin is on its way, or was sent
	sendReset                  // nothing: reset is. x.sendErr says why
)

// recvState is what may still come, and be read.
type recvState uint8

const (
	recvOpen   recvState = iota // anything may come
	recvEnded                   // fin has come; there may be bytes to be read
	recvReset                   // reset has come, and nothing is read any more. x.recvErr says why
	recvClosed                  // nothing is read any more, and stop was sent; bytes, fin or reset may come
	recvDone                    // nothing is read any more, and the end has come
)

type streamFlags uint8

const (
	streamReading  streamFlags = 1 << iota // a Read has the turn
	streamWriting                          // a Write has it
	streamIncoming                         // the other end has opened it
	streamClosed                           // Close was called
	streamGone                             // the session doesn't know it any more
	streamCarries                          // it carries another session
)

// extra is what most streams at rest don't need.
type extra struct {
	turn          sync.Cond // of Reads and Writes behind others
	readDeadline  deadline
	writeDeadline deadline
	sendErr       *StreamError
	recvErr       *StreamError
	tuner         tuner
}

// A reading is a Read that waits. Who leads the reader puts bytes right into its buffer, or reads from the carrier
// into it.
type reading struct {
	cond  sync.Cond   // its lock is the stream's
	lead  *leadership // set while it counts there as waiting
	dst   []byte
	n     int
	lent  bool // the carrier reads into dst
	leads bool // this Read reads the carrier
}

// wake makes the Read look again.
func (r *reading) wake() {
	if r.lead != nil {
		r.lead.awaited()
		r.lead = nil
	}
	r.cond.Signal()
}

// look is wake for who reads the carrier: then this Read doesn't. There need be no Read.
func (r *reading) look() {
	if r != nil {
		r.wake()
	}
}

var readings = sync.Pool{New: func() any { return new(reading) }}

var _ net.Conn = (*Stream)(nil)

// extra returns x, made if there is none.
func (st *Stream) extra() *extra {
	if st.x == nil {
		st.x = new(extra)
		st.x.turn.L = &st.mu
	}
	return st.x
}

func (st *Stream) needSending() {
	if st.sending == nil {
		st.sending = sendings.Get().(*sending)
		st.sending.cond.L, st.sending.credit.L = &st.s.w.mu, &st.mu
	}
}

// ID returns the stream's number, the same on both ends. That of streams that the session's client has opened is odd.
func (st *Stream) ID() uint64 { return st.id }

// Session returns the session that the stream is of.
func (st *Stream) Session() *Session { return st.s }

// LocalAddr returns the address of the session's carrier on this end.
func (st *Stream) LocalAddr() net.Addr { return st.s.LocalAddr() }

// RemoteAddr returns the address of the session's carrier on the other end.
func (st *Stream) RemoteAddr() net.Addr { return st.s.RemoteAddr() }

// Read reads what has come, and waits if nothing has. It returns io.EOF behind the last byte.
func (st *Stream) Read(p []byte) (n int, err error) {
	st.mu.Lock()
	n, err = st.readLocked(p)
	st.mu.Unlock()
	if err != nil && err != io.EOF {
		err = st.opError("read", err)
	}
	return n, err
}

func (st *Stream) readLocked(p []byte) (n int, err error) {
	for {
		if err := st.readBarred(); err != nil {
			return 0, err
		}
		if st.flags&streamReading != 0 {
			st.extra().turn.Wait()
			continue
		}
		if !st.unread.empty() {
			if len(p) == 0 {
				return 0, nil
			}
			n := st.unread.read(p)
			st.consumed(n)
			return n, nil
		}
		if err := st.readEnd(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if n := st.waitBytes(p); n > 0 {
			st.consumed(n)
			return n, nil
		}
	}
}

// waitBytes waits until there is something to read, and returns how many bytes are in p.
func (st *Stream) waitBytes(p []byte) int {
	r := st.reading
	if r == nil {
		r = readings.Get().(*reading)
		r.cond.L = &st.mu
		st.reading = r
	}
	r.dst, r.n = p, 0
	st.flags |= streamReading
	lead := &st.s.r.lead
	for r.lent || !st.readable() {
		if !r.lent && lead.take(st) {
			r.leads = true
			st.mu.Unlock()
			lead.read(st)
			st.mu.Lock()
			r.leads = false
			continue
		}
		r.lead = lead
		lead.await()
		r.cond.Wait()
		if r.lead != nil {
			r.lead.awaited()
			r.lead = nil
		}
	}
	n := r.n
	r.dst, st.reading = nil, nil
	readings.Put(r)
	st.flags &^= streamReading
	if st.x != nil {
		st.x.turn.Broadcast()
	}
	return n
}

// readable tells whether the Read that waits has something to return.
func (st *Stream) readable() bool {
	return st.reading.n > 0 || !st.unread.empty() || st.readBarred() != nil || st.readEnd() != nil
}

// hasNews is readable, for who doesn't hold the lock.
func (st *Stream) hasNews() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.readable()
}

// readBarred is why nothing may be read, whatever there is.
func (st *Stream) readBarred() error {
	switch {
	case st.recvState >= recvClosed:
		return net.ErrClosed
	case st.recvState == recvReset:
		return st.x.recvErr
	case st.x != nil && st.x.readDeadline.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// readEnd is why there will be nothing more to read.
func (st *Stream) readEnd() error {
	if st.recvState == recvEnded {
		return io.EOF
	}
	return st.s.endErr()
}

// consumed gives credit for bytes that were read.
func (st *Stream) consumed(n int) {
	st.read += uint64(n)
	if st.recvState == recvOpen && st.creditDue() {
		st.tune()
		// What was allowed once is not taken back when the window shrinks.
		if most := st.read + uint64(st.window); most > st.recvMax {
			st.recvMax = most
			st.s.w.value(kindCredit, st.id, most)
		}
	}
	st.s.consumed(n)
}

// Peek copies to p what a Read would return that need not wait, and leaves it to be read.
func (st *Stream) Peek(p []byte) (n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.unread.peek(p)
}

// Write writes p. It waits while the other end's limits, or the carrier, do not let it, and returns how much of p will
// be sent. That need not have arrived when it returns. After it has returned, p is the caller's again, whatever the
// error.
func (st *Stream) Write(p []byte) (n int, err error) {
	err = st.write(&source{p: p, left: len(p)}, &n)
	return n, err
}

// writeVec is Write for what is in vec; frames is memory for it. What was not written is in vec then.
func (st *Stream) writeVec(vec *net.Buffers, frames *[][]byte) (n int64, err error) {
	src := source{vec: *vec, frames: frames}
	for _, p := range *vec {
		src.left += len(p)
	}
	var k int
	err = st.write(&src, &k)
	*vec = src.vec
	clear((*frames)[:cap(*frames)])
	return int64(k), err
}

// write writes what src has. n is how much of it will be sent.
func (st *Stream) write(src *source, n *int) (err error) {
	st.mu.Lock()
	for st.flags&streamWriting != 0 {
		st.extra().turn.Wait()
	}
	st.flags |= streamWriting
	for {
		if err = st.writeBarred(); err != nil || src.left == 0 {
			break
		}
		if st.sent == st.sendMax {
			st.waitCredit()
			continue
		}
		k := st.s.w.data(st, src.next(st.id, st.sendMax-st.sent))
		st.mu.Lock()
		st.sent += uint64(k)
		*n += k
		if src.took(k); src.left == 0 {
			break
		}
	}
	st.flags &^= streamWriting
	if st.sending != nil {
		sendings.Put(st.sending)
		st.sending = nil
	}
	if st.x != nil {
		st.x.turn.Broadcast()
	}
	st.mu.Unlock()
	if err != nil {
		err = st.opError("write", err)
	}
	return err
}

// waitCredit waits until a Write has to look again whether it may go on.
func (st *Stream) waitCredit() {
	st.needSending()
	st.s.w.mu.Lock()
	st.s.w.nudge()
	st.s.w.mu.Unlock()
	snd := st.sending
	snd.lead = &st.s.r.lead
	snd.lead.await()
	snd.credit.Wait()
	if snd.lead != nil {
		snd.lead.awaited()
		snd.lead = nil
	}
}

// writeBarred is why nothing may be written.
func (st *Stream) writeBarred() error {
	switch {
	case st.flags&streamClosed != 0 || st.sendState == sendEnded:
		if err := st.s.endErr(); err != nil && st.flags&streamClosed == 0 {
			return err
		}
		return net.ErrClosed
	case st.sendState == sendReset:
		return st.x.sendErr
	case st.x != nil && st.x.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	}
	return st.s.endErr()
}

// Err tells, without waiting, why the stream is of no use any more, or nil while it is: while something can be written, or read, or
// may come. The error's cause is that of Read or Write: a *StreamError if the other end has reset it, a *SessionError if the session
// has ended, whatever was received before, net.ErrClosed; or it is io.EOF if both ends are done. Who keeps streams for later can
// thus drop those that have died meanwhile.
func (st *Stream) Err() error {
	st.mu.Lock()
	err := st.over()
	st.mu.Unlock()
	if err != nil && err != io.EOF {
		err = st.opError("use", err)
	}
	return err
}

// over is the cause of Err.
func (st *Stream) over() error {
	end := st.s.endErr()
	switch {
	case st.flags&streamClosed != 0:
		return net.ErrClosed
	case end != nil:
		return end
	case st.sendState == sendOpen, st.recvState == recvOpen, st.recvState == recvEnded && !st.unread.empty():
		return nil
	case st.recvState == recvReset:
		return st.x.recvErr
	case st.sendState == sendReset:
		return st.x.sendErr
	case st.recvState == recvEnded:
		return io.EOF
	}
	return net.ErrClosed
}

// Close ends both directions: the other end reads io.EOF after what was written, and its Writes fail, as far as they
// have not come to their end. What runs on the stream here fails with net.ErrClosed. A second Close returns nil.
func (st *Stream) Close() error {
	st.mu.Lock()
	first := st.flags&streamClosed == 0
	st.flags |= streamClosed
	st.endSend()
	st.stopRecv(0)
	st.settle()
	st.stopDeadlines()
	st.mu.Unlock()
	if first {
		st.s.release(st)
	}
	return nil
}

// CloseWrite ends the sending direction: the other end reads io.EOF after what was written. It fails if the direction was
// reset before; a second CloseWrite returns nil.
func (st *Stream) CloseWrite() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.sendState == sendReset {
		return st.opError("close", st.x.sendErr)
	}
	st.endSend()
	st.settle()
	return nil
}

// CloseRead ends the receiving direction: what has come or comes is dropped, and the other end's Writes fail with
// a *StreamError that has Stop set. It returns nil.
func (st *Stream) CloseRead() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stopRecv(0)
	st.settle()
	return nil
}

// Reset ends both directions at once, with an error that has the code. What was written may or may not
// arrive. Directions that have ended already stay as they are. The stream must still be closed. It returns nil.
func (st *Stream) Reset(code uint64) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.resetSend(&StreamError{Code: code})
	st.stopRecv(code)
	st.settle()
	return nil
}

// endSend ends the sending direction with fin, after what was written.
func (st *Stream) endSend() {
	if st.sendState == sendOpen {
		st.sendState = sendEnded
		st.wakeWrite()
		st.s.w.end(st.id)
	}
}

// resetSend ends the sending direction with reset. cause is what Write returns.
func (st *Stream) resetSend(cause *StreamError) {
	if st.sendState == sendOpen {
		st.sendState = sendReset
		st.extra().sendErr = cause
		st.wakeWrite()
		st.s.w.value(kindReset, st.id, cause.Code)
	}
}

// stopRecv ends the receiving direction.
func (st *Stream) stopRecv(code uint64) {
	switch st.recvState {
	case recvOpen:
		st.recvState = recvClosed
		if !st.s.ended() {
			st.s.w.value(kindStop, st.id, code)
		}
	case recvEnded, recvReset:
		st.recvState = recvDone
	}
	st.discard()
	st.wakeRead()
}

// discard drops what nobody will read.
func (st *Stream) discard() {
	if n := st.unread.discard(); n > 0 {
		st.read += uint64(n)
		st.s.consumed(n)
	}
}

// settle lets the session forget the stream, once both directions have ended.
func (st *Stream) settle() {
	if st.sendState != sendOpen && st.recvState != recvOpen && st.recvState != recvClosed && st.flags&streamGone == 0 {
		st.flags |= streamGone
		if st.x != nil {
			st.untune()
		}
		st.s.forget(st)
	}
}

// wakeRead makes a waiting Read look again whether it may go on waiting.
func (st *Stream) wakeRead() {
	if r := st.reading; r != nil {
		if r.lent || r.leads {
			st.s.r.interrupt()
		}
		r.wake()
	}
}

// wakeWrite makes a waiting Write do that.
func (st *Stream) wakeWrite() {
	if st.flags&streamWriting != 0 {
		if snd := st.sending; snd != nil {
			snd.wake()
		}
		st.s.w.interrupt(st)
	}
}

// fail wakes all that waits, as the session has ended.
func (st *Stream) fail() {
	st.mu.Lock()
	st.wakeRead()
	st.wakeWrite()
	st.stopDeadlines()
	st.mu.Unlock()
}

// stopDeadlines lets go of timers, which hold on to the stream, when nothing waits for them any more.
func (st *Stream) stopDeadlines() {
	if st.x != nil {
		st.x.readDeadline.stop()
		st.x.writeDeadline.stop()
	}
}

// SetDeadline sets both deadlines. Calls that are in progress or come later fail with os.ErrDeadlineExceeded once it
// has passed, until it is changed. The zero value means none. After Close it fails with net.ErrClosed, as the other two
// do.
func (st *Stream) SetDeadline(t time.Time) error {
	return st.setDeadlines(t, st.setReadDeadline, st.setWriteDeadline)
}

// SetReadDeadline sets the deadline of Read.
func (st *Stream) SetReadDeadline(t time.Time) error { return st.setDeadlines(t, st.setReadDeadline) }

// SetWriteDeadline sets the deadline of Write. After it has passed in the middle of a Write, part of the data may have been
// sent: as much as that has returned.
func (st *Stream) SetWriteDeadline(t time.Time) error { return st.setDeadlines(t, st.setWriteDeadline) }

func (st *Stream) setDeadlines(t time.Time, set ...func(time.Time)) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.flags&streamClosed != 0 {
		return st.opError("set", net.ErrClosed)
	}
	for _, f := range set {
		f(t)
	}
	return nil
}

func (st *Stream) setReadDeadline(t time.Time) {
	if st.x != nil || !t.IsZero() {
		st.extra().readDeadline.set(t, &st.mu, st.wakeRead)
	}
}

func (st *Stream) setWriteDeadline(t time.Time) {
	if st.x != nil || !t.IsZero() {
		st.extra().writeDeadline.set(t, &st.mu, st.wakeWrite)
	}
}

// opError makes an error what package net's would be.
func (st *Stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mux", Source: st.LocalAddr(), Addr: st.RemoteAddr(), Err: err}
}
