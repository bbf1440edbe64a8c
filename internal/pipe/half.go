package pipe

import (
	"io"
	"net"
	"runtime"
	"sync"
	"time"
)

// lendSize is the length from which a buffered Write first lets a Read come and copy straight from it. That saves
// one of two copies, which is worth more than the switch of goroutines it costs.
const lendSize = 8 << 10

// half is one direction of a pipe: what one end writes and the other reads.
//
// A Write that finds Reads waiting copies into them and returns; a Read copies what the buffer has and then straight
// from the Writes that wait. So a message costs one wake-up, and what is long is copied once. A Write, or the rest
// of it, goes into the buffer when all of it fits; a long one tries Reads before. Hence, when the lock is free:
//   - if Reads wait, there is nothing to read: the buffer is empty and no Write waits;
//   - if Writes wait, the first one does not fit into the buffer, or it is awake and about to look again.
//
// Waiting is on conds only, and nobody holds the lock while waiting.
type half struct {
	size int // bytes that the buffer may hold; 0 is synchronous. Constant

	mu   sync.Mutex // guards what follows
	r, w end
	buf  buffer
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.r.readErr(); err != nil || len(p) == 0 {
		return 0, err
	}
	if n := h.take(p); n > 0 {
		return n, nil
	}
	if h.w.state != open {
		return 0, io.EOF
	}
	w := h.r.enqueue(p, &h.mu)
	for !w.done() {
		w.cond.Wait()
	}
	return h.r.result(w, p)
}

// take moves bytes from the buffer, and then straight from waiting Writes, to p. It returns how many.
func (h *half) take(p []byte) int {
	n := h.buf.read(p)
	for n < len(p) && !h.w.waiting.empty() {
		w := h.w.waiting.first()
		k := copy(p[n:], w.buf)
		n += k
		w.buf = w.buf[k:]
		if len(w.buf) == 0 {
			h.w.waiting.finish(nil)
		}
	}
	h.offer()
	return n
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.w.writeErr(); err != nil {
		return 0, err
	}
	rest := p
	if h.w.waiting.empty() { // else it queues behind them, so that Writes don't mix
		rest = h.give(p)
		if len(rest) < lendSize && h.fits(rest) {
			h.buf.write(rest)
			rest = nil
		}
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	w := h.w.enqueue(rest, &h.mu)
	if h.settles(w) {
		h.mu.Unlock()
		runtime.Gosched() // the Read that takes it may be about to run
		h.mu.Lock()
	}
	for !w.done() {
		if h.settles(w) {
			h.settle()
			h.offer()
		} else {
			w.cond.Wait()
		}
	}
	n, err := h.w.result(w, rest)
	return len(p) - len(rest) + n, err
}

// give copies p to waiting Reads and returns what is left.
func (h *half) give(p []byte) []byte {
	for len(p) > 0 && !h.r.waiting.empty() {
		r := h.r.waiting.first()
		n := copy(r.buf, p)
		r.buf, p = r.buf[n:], p[n:]
		h.r.waiting.finish(nil)
	}
	return p
}

// fits tells whether the buffer can take all of p.
func (h *half) fits(p []byte) bool { return len(p) <= h.size-h.buf.n }

// settles tells whether a waiting Write is the next one and fits.
func (h *half) settles(w *waiter) bool { return w == h.w.waiting.first() && h.fits(w.buf) }

// settle finishes the first waiting Write, all of which fits, into the buffer.
func (h *half) settle() {
	w := h.w.waiting.first()
	h.buf.write(w.buf)
	w.buf = nil
	h.w.waiting.finish(nil)
}

// offer wakes the first waiting Write if it fits by now. It doesn't move it into the buffer, because until it runs
// the next Read may come and take it directly.
func (h *half) offer() {
	if w := h.w.waiting.first(); w != nil && h.fits(w.buf) {
		w.cond.Signal()
	}
}

// endRead brings the reading end to own and the peer's writing end to peer, unless the reading end is closed.
func (h *half) endRead(own, peer state) error { return h.end(&h.r, &h.w, own, peer) }

// endWrite brings the writing end to own and the peer's reading end to peer, unless the writing end is closed.
func (h *half) endWrite(own, peer state) error { return h.end(&h.w, &h.r, own, peer) }

func (h *half) end(e, f *end, own, peer state) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.state == closed {
		return net.ErrClosed
	}
	e.state, f.state = max(e.state, own), max(f.state, peer)
	if e.state == closed {
		e.timer.stop()
		e.timer = nil
	}
	h.interrupt()
	return nil
}

// interrupt finishes what can wait no longer after a change of states or deadlines.
func (h *half) interrupt() {
	if err := h.w.writeErr(); err != nil {
		for !h.w.waiting.empty() {
			h.cut(err)
		}
	}
	err := h.r.readErr()
	if err == nil && h.w.state != open {
		err = io.EOF // if Reads wait there is nothing in the buffer
	}
	if err != nil {
		for !h.r.waiting.empty() {
			h.r.waiting.finish(err)
		}
	}
	if h.r.state != open {
		h.buf.discard()
	}
}

// cut finishes the first waiting Write early. What of it fits goes into the buffer, as it would on a socket.
func (h *half) cut(err error) {
	w := h.w.waiting.first()
	if h.r.state == open {
		if h.fits(w.buf) {
			h.settle()
			return
		}
		n := h.size - h.buf.n
		h.buf.write(w.buf[:n])
		w.buf = w.buf[n:]
	}
	h.w.waiting.finish(err)
}

func (h *half) setDeadline(e *end, at time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.state == closed {
		return net.ErrClosed
	}
	e.timer.stop()
	e.expired = false
	if at.IsZero() {
		return nil
	}
	now := time.Now()
	d := at.Sub(now)
	if d <= 0 {
		e.expired = true
		h.interrupt()
		return nil
	}
	if e.timer == nil {
		e.timer = &timer{Timer: time.AfterFunc(d, func() { h.timeout(e) })}
	} else {
		e.timer.Reset(d)
	}
	e.timer.at = now.Add(d) // by the clock that timers go by, and not after the timer fires
	return nil
}

// timeout runs when the timer of e fires. Meanwhile another deadline may have been set, or none: a timer that was
// set anew fires again when it is time.
func (h *half) timeout(e *end) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := e.timer; t != nil && !t.at.IsZero() && !time.Now().Before(t.at) {
		e.expired = true
		h.interrupt()
	}
}
