package mux

import (
	"errors"
	"math"
	"os"
	"time"
)

// A retained is the bytes that a writer has written and is to write, until the other end has acknowledged them. Offsets
// count the bytes of the session's direction from its beginning, across all carriers. The writer's lock guards it.
type retained struct {
	bound       int    // of its size, for data
	first, last *chunk // in a list that ends with nil
	begin       uint64 // offset of the first chunk's beginning

	acked uint64 // the other end has these
	sent  uint64 // from here on it is to be written to the carrier
	end   uint64
	high  uint64 // from here on nothing was ever given to a carrier
	pin   uint64 // from here on a Write may be reading; a large number if none is

	at  *chunk // where sent is: at.buf[pos]. nil if there is no chunk
	pos int

	declined bool // the other end wants no resumption: what was written is let go of
}

func newRetained(bound int) *retained { return &retained{bound: bound, pin: math.MaxUint64} }

// size is how many bytes are kept.
func (k *retained) size() int { return int(k.end - k.free()) }

// free is up to where nothing is needed any more. What the other end has may still have to be written, if it has said
// that it expects it on this carrier.
func (k *retained) free() uint64 { return min(k.acked, k.sent, k.pin) }

func (k *retained) full() bool { return k.size() >= k.bound }

func (k *retained) unsent() int { return int(k.end - k.sent) }

// write adds bytes.
func (k *retained) write(p []byte) {
	for len(p) > 0 {
		c := k.last
		if c == nil || c.w == len(c.buf) {
			c = k.grow(len(p))
		}
		n := copy(c.room(), p)
		c.w += n
		k.end += uint64(n)
		p = p[n:]
	}
}

func (k *retained) writeVec(vec [][]byte) {
	for _, p := range vec {
		k.write(p)
	}
}

// grow adds a chunk. One of a busy session is as large as what is kept, so that many small writes do not make many chunks.
func (k *retained) grow(n int) *chunk {
	c := newChunk(max(n, k.size()))
	if k.last == nil {
		k.first, k.begin = c, k.end
	} else {
		k.last.next = c
	}
	k.last = c
	if k.at == nil {
		k.at, k.pos = c, 0
	}
	return c
}

// unsentVec appends what is to be written to vec, most bytes of it or so.
func (k *retained) unsentVec(vec [][]byte, most int) (_ [][]byte, n int) {
	pos := k.pos
	for c := k.at; c != nil && n < most; c, pos = c.next, 0 {
		if p := c.buf[pos:c.w]; len(p) > 0 {
			vec = append(vec, p)
			n += len(p)
		}
	}
	return vec, n
}

// wrote notes that n bytes more were written.
func (k *retained) wrote(n int) { k.seek(k.sent + uint64(n)) }

// seek makes an offset the next to be written, which must be kept, or the end.
func (k *retained) seek(offset uint64) {
	c, begin := k.at, k.sent-uint64(k.pos)
	if c == nil || offset < begin {
		c, begin = k.first, k.begin
	}
	for c != nil && c.next != nil && offset-begin >= uint64(c.w) {
		begin += uint64(c.w)
		c = c.next
	}
	k.at, k.pos, k.sent = c, 0, offset
	if c != nil {
		k.pos = int(offset - begin)
	}
	k.high = max(k.high, offset)
}

// release lets go of the chunks that are not needed any more.
func (k *retained) release() {
	if k.declined {
		k.acked = k.sent
	}
	free := k.free()
	for c := k.first; c != nil && k.begin+uint64(c.w) <= free; c = k.first {
		k.begin += uint64(c.w)
		k.first = c.next
		if k.last == c {
			k.last = nil
		}
		if k.at == c { // then all of it is written
			k.at, k.pos = k.first, 0
		}
		c.free()
	}
}

// stage moves what waits to be written to where it is kept: what is queued; the payload p, if any; and large writes, as
// many as go into a batch and the bound allows. Writes are done then.
func (w *writer) stage(p payload) {
	k := w.kept
	k.write(w.queue)
	w.answers = 0
	if c := cap(w.queue); c <= keepBuffer || len(w.queue) > c/8 {
		w.queue = w.queue[:0]
	} else {
		w.queue = nil
	}
	if p.size > 0 {
		w.vecMem = p.appendFrames(w.vecMem[:0], &w.ownHeaders, w.frame)
		k.writeVec(w.vecMem)
	}
	for n := p.size; n < copyBatch && w.large.Len() > 0 && !k.full(); {
		snd := w.large.Pop().Value
		k.write(snd.header[:])
		k.write(snd.p.p)
		k.writeVec(snd.p.more)
		n += snd.p.size
		snd.finish(sendingDone)
	}
	if k.size() > k.bound+mostData+controlBound && w.err == nil {
		w.err = protocolErrorf(codeFlood, "%d bytes wait for the other end to acknowledge them", k.size())
	}
}

// keepRound is round, for a session that keeps what it writes. All of it is written from memory of the writer's, so
// a Write that is interrupted is one that is done, and any carrier may be left in the middle of it.
func (w *writer) keepRound(p payload) {
	k := w.kept
	w.stage(p)
	if w.err != nil || w.detached || k.unsent() == 0 {
		return
	}
	w.rounds++
	c, turn := w.carrier, w.turn
	var n int
	w.vecMem, n = k.unsentVec(w.vecMem[:0], copyBatch)
	k.pin, k.high = k.sent, max(k.high, k.sent+uint64(n))
	w.mu.Unlock()

	wrote, err := w.writeTo(c)

	w.mu.Lock()
	k.pin = math.MaxUint64
	clear(w.vecMem)
	if w.cut && w.carrier.direct { // or another carrier has come, and the one that was cut is closed
		_ = w.carrier.net.SetWriteDeadline(time.Time{})
	}
	w.cut = false
	if turn != w.turn { // another carrier has come meanwhile, and begins anew
		k.release()
		return
	}
	k.wrote(int(min(max(wrote, 0), int64(n))))
	k.release()
	switch {
	case err == nil || c.direct && errors.Is(err, os.ErrDeadlineExceeded):
	case w.last:
		w.err = carrierError("write", err)
	default:
		w.detached = true
		w.lostOne, w.lostErr = c, carrierError("write", err)
	}
	if k.declined && k.size() == 0 {
		w.kept = nil
	}
}

// writeTo writes vecMem to a carrier.
func (w *writer) writeTo(c *carrier) (n int64, err error) {
	if len(w.vecMem) == 1 {
		n, err := c.Write(w.vecMem[0])
		return int64(n), err
	}
	w.vec = w.vecMem
	return c.writeVec(&w.vec)
}

// report tells the session that the carrier has failed. The lock is released meanwhile.
func (w *writer) report() {
	c, err := w.lostOne, w.lostErr
	if c == nil {
		return
	}
	w.lostOne, w.lostErr = nil, nil
	w.mu.Unlock()
	w.lost(c, err)
	w.mu.Lock()
}

// acked takes the other end's word on how many bytes it has.
func (w *writer) acked(n uint64) (useful bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kept
	if k == nil {
		return false, protocolErrorf(codeState, "bytes are acknowledged, without resumption")
	}
	if n > k.high {
		return false, protocolErrorf(codeState, "%d bytes are acknowledged, of %d", n, k.high)
	}
	if n <= k.acked {
		return false, nil
	}
	k.acked = n
	k.release()
	if w.pending() {
		w.kick()
	}
	return true, nil
}

// decline stops keeping what is written.
func (w *writer) decline() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept.declined = true
	w.kept.release()
	if !w.busy && w.kept.size() == 0 {
		w.kept = nil
	}
	w.kick()
}

// detach stops writing, as there is no carrier.
func (w *writer) detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detached = true
	w.kick()
}

// resumeFrom tells from which offset on to write to a new carrier, if the other end has said that it has n bytes.
func (w *writer) resumeFrom(n uint64) (from uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.kept.high {
		return 0, protocolErrorf(codeState, "the other end claims to have %d bytes, of %d", n, w.kept.high)
	}
	return max(n, w.kept.acked), nil
}

// resumeAt is resumeFrom where the number is final. An end that has acknowledged more since has thought better of it, as
// when its write of the proof failed although it had arrived.
func (w *writer) resumeAt(n uint64) (from uint64, err error) {
	from, err = w.resumeFrom(n)
	if err == nil && from > n {
		err = errOvertaken
	}
	return from, err
}

// attach makes the writer go on with a new carrier, from an offset on.
func (w *writer) attach(c *carrier, from uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	w.carrier, w.detached = c, false
	w.lostOne, w.lostErr = nil, nil
	w.kept.acked = max(w.kept.acked, from)
	w.kept.seek(from)
	w.kept.release()
	w.kick()
}

// discard frees what is kept, when nothing is written any more.
func (w *writer) discard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.kept; k != nil && !w.busy {
		k.seek(k.end)
		k.acked = k.end
		k.release()
	}
}
