package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readBuffer = 16 << 10
	// fewBytes is how much is read at once while large payloads come: what comes behind a header is copied once more.
	fewBytes = 1 << 10
	// mostEmpty is how often in a row the carrier may read nothing.
	mostEmpty = 100
)

// A reader reads frames from the carrier and gives them their effect. It belongs to whoever leads (lead.go), but for what
// says otherwise. Who leads never waits for anything but the carrier: what it has to send it queues. The payload of data
// goes from the carrier right to the Read that waits for it, if there is one.
type reader struct {
	s       *Session
	carrier *carrier

	buf     []byte // what was read and not looked at is buf[r:w]
	r, w    int
	want    int  // how much to read at once
	large   bool // the last payload was, so that want need not grow yet
	useless floodGate

	// The data frame in progress: left bytes are to come, for a stream that may be nil.
	to   *Stream
	left int
	fin  bool

	woken  int32 // how many streams were woken since the carrier was read
	opened int32 // how many were opened
	lead   leadership

	received atomic.Uint64 // bytes of all streams
	reads    atomic.Uint64 // how often something has come: a sign of life
	greeted  atomic.Bool   // hello has come
	empty    int           // how many reads in a row have returned nothing

	mu  sync.Mutex
	cut bool // the carrier's deadline was set, to interrupt Read
}

func (r *reader) init(s *Session) {
	r.s, r.carrier = s, s.carrier
	r.buf, r.want = make([]byte, readBuffer), fewBytes
	r.lead.init(r)
}

// begin takes what was read already.
func (r *reader) begin(first []byte) {
	r.w = copy(r.buf, first)
	if r.s.res != nil {
		r.s.res.acks.add(r.w)
	}
}

// run reads until the carrier fails or the session ends.
func (r *reader) run() error {
	if err := r.hello(); err != nil {
		return err
	}
	if r.s.res != nil && !r.s.res.wanted {
		r.s.w.decline()
	}
	for {
		err := r.frame()
		if err == nil && r.lead.mayRest() {
			err = r.lead.rest()
		}
		if err == errSwitch {
			err = r.s.res.next()
		}
		if err != nil {
			return err
		}
	}
}

var (
	// errEnded says that what comes does not matter any more.
	errEnded = errors.New("the session has ended")
	// errInterrupted says that the Read which leads has to look whether it may go on.
	errInterrupted = errors.New("interrupted")
	// errSwitch says that the carrier is to be left for another.
	errSwitch = errors.New("there is to be another carrier")
)

// frame reads one frame, or goes on with one. After an error it can be called again.
func (r *reader) frame() error {
	if r.left > 0 {
		return r.data()
	}
	if err := r.need(headerSize); err != nil {
		return err
	}
	h := parseHeader(r.buf[r.r:])
	if err := h.check(); err != nil {
		return err
	}
	if h.kind == kindData {
		r.r += headerSize
		return r.beginData(h)
	}
	if err := r.need(headerSize + h.size); err != nil {
		return err
	}
	r.r += headerSize + h.size
	return r.control(h, r.buf[r.r-h.size:r.r])
}

// need reads until there are n bytes to look at.
func (r *reader) need(n int) error {
	for r.w-r.r < n {
		if r.r == r.w {
			r.r, r.w = 0, 0
		} else if r.r+max(n, r.want) > len(r.buf) {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		}
		into := r.buf[r.w:min(len(r.buf), r.r+max(n, r.want))]
		k, err := r.read(into)
		if err != nil {
			return err
		}
		r.w += k
		switch {
		case k < len(into):
		case r.large:
			r.large = false
		default:
			r.want = min(max(4*r.want, fewBytes), readBuffer)
		}
	}
	return nil
}

// read reads from the carrier once. It may return nothing.
func (r *reader) read(p []byte) (int, error) {
	r.s.w.woken.Store(r.woken + r.opened)
	r.lead.look(r.woken)
	r.woken, r.opened = 0, 0
	if r.s.w.flooded.Load() {
		return 0, protocolErrorf(codeFlood, "more is sent than answers to it are taken: %d bytes of these wait", controlBound)
	}
	n, err := r.carry(p)
	if n > 0 && r.s.res != nil {
		r.s.res.acks.add(n)
	}
	return n, err
}

// carry reads from the carrier, and knows what its errors mean.
func (r *reader) carry(p []byte) (int, error) {
	if r.s.res != nil && !r.s.res.mayRead() {
		return 0, errSwitch
	}
	n, err := r.carrier.Read(p)
	switch {
	case n > 0:
		// After the session's end too: the other end's close may come, and the carrier need not be kept for it then.
		r.reads.Add(1)
		r.empty = 0
		return n, nil
	case err == nil:
		if r.empty++; r.empty == mostEmpty {
			err = io.ErrNoProgress
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && r.goOn():
		if r.lead.stream != nil {
			err = errInterrupted
		} else {
			err = nil
		}
	}
	if err != nil && err != errInterrupted && r.s.ended() {
		return 0, errEnded
	}
	if err != nil && err != errInterrupted && r.s.res != nil && r.s.res.lost(r.carrier, carrierError("read", err)) {
		err = errSwitch
	}
	return 0, err
}

// attach makes the reader, which is parked, go on with another carrier.
func (r *reader) attach(c *carrier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carrier, r.cut = c, false
}

// leave makes Reads of a carrier return, for good.
func (r *reader) leave(c *carrier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.gone = true
	if c.net != nil {
		_ = c.net.SetDeadline(aLongTimeAgo)
	}
}

// interrupt makes a Read of the carrier return. Any goroutine may call it.
func (r *reader) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cut && r.carrier.stops { // it may be another one than who is to be interrupted reads
		r.cut = true
		_ = r.carrier.net.SetReadDeadline(aLongTimeAgo)
	}
}

// goOn tells, after the carrier's deadline, whether there was only an interruption.
func (r *reader) goOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cut || r.carrier.gone {
		return false
	}
	r.cut = false
	_ = r.carrier.net.SetReadDeadline(time.Time{})
	return true
}

// beginData checks a data frame, and reads its payload.
func (r *reader) beginData(h header) error {
	st, err := r.s.stream(h.id)
	if err != nil {
		return err
	}
	switch received, allowed := r.received.Add(uint64(h.size)), r.s.allowed.Load(); {
	case received > allowed:
		return protocolErrorf(codeCredit, "the session's limit of %d bytes is exceeded", allowed)
	case allowed-received < firstLimit/2:
		r.s.consumed(0) // what nobody reads has used so much that others' reading may not come to it
	}
	if st == nil {
		return behindEnd("data", h.id)
	}
	st.mu.Lock()
	err = st.arrives(h)
	st.mu.Unlock()
	if err != nil {
		return err
	}
	if h.size == 0 && !h.flag {
		return r.nothing()
	}
	r.to, r.left, r.fin = st, h.size, h.flag
	return r.data()
}

// data reads the payload of a data frame, all of it, unless the Read that leads has something before.
func (r *reader) data() error {
	st := r.to
	st.mu.Lock()
	defer st.mu.Unlock()
	for r.left > 0 {
		n, err := r.payload(st, r.left)
		r.left -= n
		if err != nil {
			return err
		}
		if r.lead.stream == st && r.left > 0 && st.reading != nil && st.reading.n > 0 {
			return nil
		}
	}
	if r.fin {
		st.endRecv()
	}
	r.to = nil
	return nil
}

// payload passes some of the next left bytes on to a stream, whose lock is held; it is released while the carrier is
// read.
func (r *reader) payload(st *Stream, left int) (n int, err error) {
	if n := min(left, r.w-r.r); n > 0 {
		st.put(r.buf[r.r : r.r+n])
		r.r += n
		r.wake(st)
		return n, nil
	}
	// After the session's end what comes is dropped. No Read may then get what comes behind.
	if left < fewBytes || st.recvState != recvOpen || st.s.ended() {
		st.mu.Unlock()
		err := r.need(1)
		st.mu.Lock()
		return 0, err
	}
	// What is behind is most likely as large, and would be copied.
	r.want, r.large = headerSize, false
	if st.flags&streamCarries != 0 {
		r.want, r.large = 2*headerSize, true // a header behind the header
	}
	// A Read that has something already must be able to return.
	if rd := st.reading; rd != nil && r.carrier.stops && st.unread.empty() && rd.n == 0 {
		rd.lent = true
		dst := rd.dst[:min(len(rd.dst), left)]
		st.mu.Unlock()
		n, err = r.read(dst)
		st.mu.Lock()
		rd.lent = false
		rd.n += n
		r.wake(st)
		return n, err
	}
	st.mu.Unlock()
	c := newChunk(left)
	n, err = r.read(c.buf[:min(left, len(c.buf))])
	st.mu.Lock()
	c.w = n
	st.putChunk(c)
	r.wake(st)
	return n, err
}

// wake wakes a Read that has something to return now.
func (r *reader) wake(st *Stream) {
	if rd := st.reading; rd != nil {
		rd.wake()
		r.woken++
		r.lead.woke(st)
	}
}

// behindEnd is the error of a frame that comes when the other end has ended its direction.
func behindEnd(what string, id uint64) error {
	return protocolErrorf(codeState, "%s behind the end of stream %d", what, id)
}

// arrives checks a data frame against what may come. Lock held.
func (st *Stream) arrives(h header) error {
	if st.recvState != recvOpen && st.recvState != recvClosed {
		return behindEnd("data", st.id)
	}
	if st.received+uint64(h.size) > st.recvMax {
		return protocolErrorf(codeCredit, "the limit of stream %d, %d bytes, is exceeded", st.id, st.recvMax)
	}
	st.received += uint64(h.size)
	return nil
}

// put takes bytes that have come.
func (st *Stream) put(p []byte) {
	if st.recvState != recvOpen || st.s.ended() {
		st.read += uint64(len(p))
		st.s.consumed(len(p))
		return
	}
	if rd := st.reading; rd != nil && st.unread.empty() {
		n := copy(rd.dst[rd.n:], p)
		rd.n += n
		p = p[n:]
	}
	st.unread.write(p)
}

// putChunk takes a chunk of bytes that have come.
func (st *Stream) putChunk(c *chunk) {
	last := st.unread.last
	switch rd := st.reading; {
	case c.w == 0:
	case st.recvState != recvOpen, st.s.ended(), last != nil && len(last.room()) >= c.w, rd != nil && last == nil && rd.n < len(rd.dst):
		st.put(c.buf[:c.w])
	default:
		st.unread.add(c)
		return
	}
	c.free()
}

// endRecv is called when fin has come.
func (st *Stream) endRecv() {
	if st.recvState == recvClosed {
		st.recvState = recvDone
	} else {
		st.recvState = recvEnded
	}
	st.reading.look()
	st.settle()
}

// control gives a frame other than data its effect.
func (r *reader) control(h header, p []byte) error {
	s := r.s
	switch h.kind {
	case kindOpen:
		r.opened++
		return s.opened(h.id)
	case kindReset, kindStop, kindCredit:
		return r.streamControl(h, binary.BigEndian.Uint64(p))
	case kindLimit:
		return r.effect(s.w.raise(h.id))
	case kindStreams:
		return r.effect(s.allowOpens(h.id))
	case kindPing:
		s.w.plain(kindPong, h.id) // and no flood: the writer bounds how many answers wait
		return nil
	case kindPong:
		return r.effect(s.pongs(h.id))
	case kindKey:
		if s.res == nil {
			return r.nothing()
		}
		return s.res.key(h, p)
	case kindAck:
		if s.res != nil {
			s.res.acks.got()
		}
		useful, err := s.w.acked(h.id)
		if err != nil {
			return err
		}
		return r.effect(useful)
	case kindGoAway:
		s.goneAway()
		return r.nothing()
	case kindClose:
		return &SessionError{Code: h.id, Reason: string(p), Remote: true, Protocol: h.flag}
	default:
		return protocolErrorf(codeFrame, "unexpected frame: %v", h.kind)
	}
}

// streamControl gives a control frame of a stream its effect.
func (r *reader) streamControl(h header, value uint64) error {
	st, err := r.s.stream(h.id)
	if err != nil {
		return err
	}
	if st == nil {
		if h.kind == kindReset {
			return behindEnd("reset", h.id)
		}
		return r.nothing()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch h.kind {
	case kindReset:
		if st.recvState != recvOpen && st.recvState != recvClosed {
			return behindEnd("reset", st.id)
		}
		st.remoteReset(value)
		return nil
	case kindStop:
		if st.sendState != sendOpen {
			return r.nothing() // or it has crossed our fin
		}
		st.resetSend(&StreamError{Code: value, Remote: true, Stop: true})
		st.settle()
		return nil
	default:
		if value <= st.sendMax {
			return r.nothing()
		}
		more := value - st.sendMax
		st.sendMax = value
		if snd := st.sending; snd != nil && snd.lead != nil {
			snd.wake()
		}
		return r.effect(more >= leastCredit)
	}
}

// remoteReset ends the receiving direction, as the other end has reset it.
func (st *Stream) remoteReset(code uint64) {
	if st.recvState == recvClosed {
		st.recvState = recvDone
	} else {
		st.recvState = recvReset
		st.extra().recvErr = &StreamError{Code: code, Remote: true}
		st.discard()
	}
	st.reading.look()
	st.settle()
}

// hello reads the first frame.
func (r *reader) hello() error {
	if err := r.need(headerSize); err != nil {
		return err
	}
	h := parseHeader(r.buf[r.r:])
	if h.kind != kindHello || h.id>>8 != protocolID>>8 || h.check() != nil {
		return protocolErrorf(codeFrame, "what came is no session of this protocol: it begins with %q", r.buf[r.r:r.r+headerSize])
	}
	if h.id != protocolID {
		return protocolErrorf(codeFrame, "the other end speaks version %d, this one version %d", byte(h.id), byte(protocolID&0xff))
	}
	r.r += headerSize
	if err := r.need(h.size); err != nil {
		return err
	}
	for p := r.buf[r.r : r.r+h.size]; len(p) > 0; p = p[16:] {
		r.s.setting(binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:]))
	}
	r.r += h.size
	r.greeted.Store(true)
	return nil
}
