package mux

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
)

// A Session carries streams over one connection, its carrier. It is safe for concurrent use. It has two goroutines, one
// that reads and one that writes; streams have none.
type Session struct {
	carrier *carrier // the first; see current
	client  bool
	log     *slog.Logger
	life    lifecycle
	w       writer
	r       reader
	pings   pings
	res     *resumption // nil if the session ends with its carrier

	// Bytes of all streams that have come and were not read. How many have been read in all, and how many may have
	// come by our word; atomic, since every Read counts.
	consumedTotal atomic.Uint64
	allowed       atomic.Uint64
	grown         atomic.Int64           // by how much windows of streams are larger than in the beginning
	live          atomic.Pointer[Limits] // never 0
	far           atomic.Bool            // the path is long
	firstWindow   uint32                 // the limits' StreamWindow of the beginning, which hello has told

	openable   chan struct{} // has a value if an Open that waits should look again
	acceptable chan struct{} // likewise for Accept

	mu         sync.Mutex // may be taken with a stream's lock held
	streams    map[uint64]*Stream
	peak       int    // how many there have been, since the map was made
	nextOwn    uint64 // id of the next stream that this end opens
	nextOther  uint64 // and the other
	opens      uint64 // how many streams this end has opened
	maxOpens   uint64 // how many it may have, by the other's word
	peerCredit uint64 // for what is sent on a new stream
	goAway     bool   // the other end takes no more streams
	draining   bool   // this end opens and takes no more

	// Streams of the other end: how many there were, how many of them have been accepted, closed here, and how many it may
	// open in all by our word.
	seen, taken, closed, granted uint64

	firstWaiting, lastWaiting *Stream // for Accept
}

// Client makes a session over conn, as its client; which end is the client must only be agreed on. From then on conn is the
// session's, which closes it in the end. Client does not wait for the other end; it fails only if conn is nil, or there can be
// no keys for Config.Resume.
//
// A net.Conn must have no deadlines set. The session interrupts its Reads and Writes by deadlines in the past. A net.Conn that
// ends when one passes, such as those made of WebSockets, must hide that: struct{ io.ReadWriteCloser }{conn}.
//
// A *Stream of another session serves well, if it is given as it is.
func Client(conn io.ReadWriteCloser, cfg *Config) (*Session, error) {
	return newSession(conn, cfg, true, nil, nil)
}

// Server makes a session over conn, as its server; see [Client]. It ends with conn, whatever Config.Resume is: sessions that
// can be resumed are an [Acceptor]'s.
func Server(conn io.ReadWriteCloser, cfg *Config) (*Session, error) {
	return newSession(conn, cfg, false, nil, nil)
}

// newSession makes a session. first is what was read from conn already.
func newSession(conn io.ReadWriteCloser, cfg *Config, client bool, acceptor *Acceptor, first []byte) (*Session, error) {
	if conn == nil {
		return nil, errors.New("mux: no connection given")
	}
	lim := cfg.limits()
	s := &Session{
		carrier:     newCarrier(conn),
		client:      client,
		log:         cfg.logger(),
		streams:     make(map[uint64]*Stream),
		nextOwn:     2,
		nextOther:   1,
		maxOpens:    firstStreams,
		peerCredit:  firstCredit,
		firstWindow: uint32(lim.StreamWindow),
		openable:    make(chan struct{}, 1),
		acceptable:  make(chan struct{}, 1),
	}
	if client {
		s.nextOwn, s.nextOther = 1, 2
	}
	s.live.Store(&lim)
	s.allowed.Store(uint64(lim.SessionWindow))
	s.granted = uint64(min(lim.MaxStreams, lim.AcceptBacklog))
	s.life.init()
	s.w.init(s.carrier, s.fail, s.regrant)
	s.r.init(s)
	s.pings.init(s, cfg.keepAlive(), cfg.timeout())
	if r := cfg.resume(); r != nil && (client || acceptor != nil) {
		var err error
		if s.res, err = newResumption(s, r, acceptor); err != nil {
			return nil, err
		}
	}
	s.r.begin(first)
	s.w.queue = s.appendHello(nil)
	go s.flush()
	go s.serve()
	s.pings.start()
	return s, nil
}

func (s *Session) appendHello(b []byte) []byte {
	settings := [][2]uint64{
		{settingCredit, uint64(s.firstWindow)},
		{settingLimit, s.allowed.Load()},
		{settingStreams, s.granted},
		{settingData, mostData},
	}
	if s.res != nil {
		settings = append(settings, [2]uint64{settingResume, 1})
	}
	b = header{kind: kindHello, size: 16 * len(settings), id: protocolID}.append(b)
	for _, kv := range settings {
		b = appendUint64s(b, kv[0], kv[1])
	}
	if s.res != nil {
		b = append(b, s.res.offer.frame...)
	}
	return b
}

// setting takes a setting from the other end's hello.
func (s *Session) setting(key, value uint64) {
	switch key {
	case settingCredit:
		s.setPeerCredit(value)
	case settingLimit:
		s.w.raise(value)
	case settingStreams:
		s.allowOpens(value)
	case settingData:
		s.w.allowFrames(value)
	case settingResume:
		if s.res != nil {
			s.res.wanted = value == 1
		}
	}
}

// setPeerCredit sets what may be sent on a new stream, and raises it for those that have been opened already.
func (s *Session) setPeerCredit(credit uint64) {
	s.mu.Lock()
	s.peerCredit = max(s.peerCredit, credit)
	open := s.all()
	s.mu.Unlock()
	for _, st := range open {
		st.mu.Lock()
		st.sendMax = max(st.sendMax, credit)
		if st.sending != nil {
			st.sending.wake()
		}
		st.mu.Unlock()
	}
}

// all lists the streams. The session's lock is held.
func (s *Session) all() []*Stream {
	all := make([]*Stream, 0, len(s.streams))
	for _, st := range s.streams {
		all = append(all, st)
	}
	return all
}

// Open begins a stream. It does not wait for the other end: data can be written at once, and the stream comes out of
// the other end's Accept. If the other end's limits don't allow another stream now, Open waits until they do. The
// error's cause is that of the context, ErrGoAway, or why the session has ended.
func (s *Session) Open(ctx context.Context) (*Stream, error) { return s.open(ctx, true) }

// OpenToWrite is Open for who writes at once: the stream's beginning goes with what the session sends next, with its own first Write,
// CloseWrite, Reset or Close at the latest. That saves a timer, which a process that waits for the network feels.
func (s *Session) OpenToWrite(ctx context.Context) (*Stream, error) { return s.open(ctx, false) }

// open opens a stream. Soon tells whether its beginning is to be sent without data, if there is none soon.
func (s *Session) open(ctx context.Context, soon bool) (*Stream, error) {
	for {
		st, err := s.tryOpen(soon)
		if st != nil {
			return st, nil
		}
		if err == nil {
			err = s.waitOpenable(ctx)
		}
		if err != nil {
			return nil, s.opError("open", err)
		}
	}
}

// waitOpenable waits until it pays to try to open a stream.
func (s *Session) waitOpenable(ctx context.Context) error {
	s.r.lead.await()
	defer s.r.lead.awaited()
	select {
	case <-s.openable:
		return nil
	case <-s.life.done:
		return s.life.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryOpen opens a stream if that is allowed now.
func (s *Session) tryOpen(soon bool) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended():
		return nil, s.life.err
	case s.goAway || s.draining:
		notify(s.openable) // the others that wait
		return nil, ErrGoAway
	case s.opens == s.maxOpens:
		return nil, nil
	}
	s.opens++
	st := &Stream{s: s, id: s.nextOwn, window: s.firstWindow, recvMax: uint64(s.firstWindow), sendMax: s.peerCredit}
	s.nextOwn += 2
	s.streams[st.id] = st
	s.w.open(st.id, soon)
	if s.opens < s.maxOpens {
		notify(s.openable)
	}
	return st, nil
}

// notify puts a value into a channel that has room for one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// allowOpens takes the other end's word on how many streams may be opened in all.
func (s *Session) allowOpens(n uint64) (useful bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= s.maxOpens {
		return false
	}
	s.maxOpens = n
	notify(s.openable)
	return true
}

// goneAway is called when the other end takes no more streams.
func (s *Session) goneAway() {
	s.mu.Lock()
	s.goAway = true
	s.mu.Unlock()
	notify(s.openable)
}

// opened is called when the other end has opened a stream.
func (s *Session) opened(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case id != s.nextOther:
		return protocolErrorf(codeState, "stream %d is opened where %d is next", id, s.nextOther)
	case s.seen == s.granted:
		return protocolErrorf(codeStreams, "more than %d streams are opened", s.granted)
	}
	s.seen++
	s.nextOther += 2
	st := &Stream{s: s, id: id, window: s.firstWindow, recvMax: uint64(s.firstWindow), sendMax: s.peerCredit, flags: streamIncoming}
	s.streams[id] = st
	if s.lastWaiting == nil {
		s.firstWaiting = st
	} else {
		s.lastWaiting.next = st
	}
	s.lastWaiting = st
	s.grant()
	notify(s.acceptable)
	return nil
}

// Accept returns the next stream that the other end has opened, and waits for one. Streams that the other end has reset
// meanwhile it leaves out. The error's cause is that of the context, or why the session has ended.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	for {
		if st := s.nextWaiting(); st != nil {
			if st.isDead() {
				_ = st.Close()
				continue
			}
			return st, nil
		}
		var err error
		select {
		case <-s.acceptable:
			continue
		case <-s.life.done:
			err = s.life.err
		case <-ctx.Done():
			err = ctx.Err()
		}
		return nil, s.opError("accept", err)
	}
}

// nextWaiting takes a stream out of the queue of those that wait for Accept, or returns nil.
func (s *Session) nextWaiting() *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.firstWaiting
	if st == nil {
		return nil
	}
	s.firstWaiting, st.next = st.next, nil
	if s.firstWaiting == nil {
		s.lastWaiting = nil
	} else {
		notify(s.acceptable) // another Accept
	}
	s.taken++
	s.grant()
	return st
}

// isDead tells whether nothing can be done with the stream any more.
func (st *Stream) isDead() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.recvState == recvReset && st.sendState == sendReset
}

// grant allows the other end to open more streams, if that is worth a frame, and it takes what we send: to open streams
// and have them closed makes us send something for each. The session's lock is held.
func (s *Session) grant() {
	lim := s.live.Load()
	n := min(s.closed+uint64(lim.MaxStreams), s.taken+uint64(lim.AcceptBacklog))
	if n <= s.granted || s.draining {
		return
	}
	least := uint64(min(lim.MaxStreams, lim.AcceptBacklog)) / 4
	if (n-s.granted >= max(least, 1) || s.seen == s.granted) && !s.w.crowd() {
		s.granted = n
		s.w.plain(kindStreams, n)
	}
}

// regrant is called when the other end has taken what was queued.
func (s *Session) regrant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
}

// stream finds a stream by its id. Both results are nil if there was one.
func (s *Session) stream(id uint64) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil {
		return st, nil
	}
	if own := id%2 == s.nextOwn%2; own && id < s.nextOwn || !own && id < s.nextOther {
		return nil, nil
	}
	return nil, protocolErrorf(codeState, "a frame is of stream %d, which was never opened", id)
}

// forget lets go of a stream both directions of which have ended. The stream's lock is held.
func (s *Session) forget(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, len(s.streams))
	delete(s.streams, st.id)
	s.shrink()
	s.maybeRelease(st)
	if s.draining && len(s.streams) == 0 {
		s.life.drain()
	}
}

// shrink gives memory back when most of many streams have gone: a map never does. The session's lock is held.
func (s *Session) shrink() {
	if s.peak < 4096 || len(s.streams) > s.peak/16 {
		return
	}
	fewer := make(map[uint64]*Stream, len(s.streams))
	maps.Copy(fewer, s.streams)
	s.streams, s.peak = fewer, len(fewer)
}

// release is called when a stream has been closed here.
func (s *Session) release(st *Stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maybeRelease(st)
}

// maybeRelease lets the other end open another stream for one of its that is closed here and has ended: not before, since
// until then this end may be at work for it, whatever the other has sent.
func (s *Session) maybeRelease(st *Stream) {
	const both = streamClosed | streamGone
	if st.flags&(both|streamIncoming) == both|streamIncoming {
		st.flags &^= streamIncoming
		s.closed++
		s.grant()
	}
}

// consumed counts bytes that were read, and gives credit for them: when half of what is free of the session's window has been
// used, whatever of it lies unread.
func (s *Session) consumed(n int) {
	most := s.consumedTotal.Add(uint64(n)) + uint64(s.live.Load().SessionWindow)
	for {
		received := s.r.received.Load() // before allowed, which is at least as much then
		allowed := s.allowed.Load()
		if most < allowed+leastCredit || most-allowed < allowed-received {
			return
		}
		if s.allowed.CompareAndSwap(allowed, most) {
			s.w.plain(kindLimit, most)
			return
		}
	}
}

// SetLimits changes this end's limits, except for StreamWindow, which stays as it was in the beginning. Lower ones take effect as
// the other end uses up what it was allowed.
func (s *Session) SetLimits(l Limits) {
	lim := l.effective()
	s.live.Store(&lim)
	s.consumed(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
}

// NumStreams returns how many streams there are, those that wait for Accept included.
func (s *Session) NumStreams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// LocalAddr returns the carrier's address on this end, or one of network "mux" if it has none.
func (s *Session) LocalAddr() net.Addr {
	if c := s.current(); c.net != nil {
		return c.net.LocalAddr()
	}
	return addr("local")
}

// RemoteAddr returns the carrier's address on the other end, or one of network "mux" if it has none.
func (s *Session) RemoteAddr() net.Addr {
	if c := s.current(); c.net != nil {
		return c.net.RemoteAddr()
	}
	return addr("remote")
}

// current is the carrier, or the last one if there is none.
func (s *Session) current() *carrier {
	if s.res != nil {
		return s.res.shown.Load()
	}
	return s.carrier
}

// addr is an address of a carrier that has none.
type addr string

func (addr) Network() string  { return "mux" }
func (a addr) String() string { return string(a) }

func (s *Session) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mux", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
