package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// An Acceptor serves the carriers that come to a server: it makes a session of a new one, and gives one that
// resumes a session to that. It is safe for concurrent use.
type Acceptor struct {
	cfg *Config

	mu       sync.Mutex
	sessions map[sessionID]*Session
	ended    map[sessionID]*SessionError // those that this end has ended lately
	order    []endedAt                   // of ended, by time
	waiting  map[*resumption]uint64      // sessions without a carrier, and the number of the loss
	shaking  int                         // carriers that have not said what they are
	closed   bool
}

// endedAt is when a session has ended.
type endedAt struct {
	id sessionID
	at time.Time
}

const (
	// mostShaking is how many carriers may be at their beginning.
	mostShaking = 4096
	// mostEnded is how many ended sessions to remember, so as to tell clients that come back why they have.
	mostEnded = 1024
)

// NewAcceptor returns an Acceptor for sessions with such a Config, which may be nil; they can be resumed if it has a Resume.
func NewAcceptor(cfg *Config) *Acceptor {
	return &Acceptor{
		cfg:      cfg,
		sessions: make(map[sessionID]*Session),
		ended:    make(map[sessionID]*SessionError),
		waiting:  make(map[*resumption]uint64),
	}
}

// Serve takes conn over, as [Server] does, and waits for the first thing that comes on it: within the context, and for 10 s
// at most. It returns the session that was made of it, or, with resumed set, the one that goes on with it. If it
// fails it closes conn; no session is affected by that, whoever is at conn's other end. Errors are *net.OpError. As it waits for
// the other end, who may be a stranger, each conn's Serve belongs on a goroutine of its own.
func (a *Acceptor) Serve(ctx context.Context, conn io.ReadWriteCloser) (s *Session, resumed bool, err error) {
	if conn == nil {
		return nil, false, errors.New("mux: no connection given")
	}
	s, resumed, err = a.serve(ctx, conn)
	if err != nil {
		_ = conn.Close()
		e := &net.OpError{Op: "accept", Net: "mux", Err: err}
		if nc, ok := conn.(net.Conn); ok {
			e.Source, e.Addr = nc.LocalAddr(), nc.RemoteAddr()
		}
		return nil, false, e
	}
	return s, resumed, nil
}

func (a *Acceptor) serve(ctx context.Context, conn io.ReadWriteCloser) (s *Session, resumed bool, err error) {
	if err := a.enter(); err != nil {
		return nil, false, err
	}
	defer a.leave()
	h, frame, err := readFirst(ctx, conn)
	switch {
	case err != nil:
		return nil, false, err
	case h.id != protocolID && h.id>>8 == protocolID>>8:
		return nil, false, protocolErrorf(codeFrame, "the other end speaks version %d, this one version %d", byte(h.id), byte(protocolID&0xff))
	case h.id != protocolID:
		return nil, false, protocolErrorf(codeFrame, "what came is no session of this protocol: it begins with %q", frame[:headerSize])
	case h.kind == kindHello:
		s, err := newSession(conn, a.cfg, false, a, frame)
		return s, false, err
	}
	id := sessionID(frame[headerSize:])
	s, code, end := a.find(id)
	if s == nil {
		return nil, false, causeOr(ctx, refuseWithin(ctx, conn, code, end))
	}
	if err := s.res.admit(ctx, conn, frame[headerSize:]); err != nil {
		return nil, false, err
	}
	return s, true, nil
}

// readFirst reads the first frame.
func readFirst(ctx context.Context, conn io.ReadWriteCloser) (h header, frame []byte, err error) {
	ctx, _, done := within(ctx, conn)
	h, frame, err = readHandshake(conn, kindHello, kindResume)
	if err != nil {
		err = causeOr(ctx, err)
	}
	if !done() && err == nil {
		err = context.Cause(ctx)
	}
	return h, frame, err
}

// refuseWithin tells a client that its session is not resumed. It returns why.
func refuseWithin(ctx context.Context, conn io.ReadWriteCloser, code uint64, end *SessionError) error {
	_, _, done := within(ctx, conn)
	defer done()
	return refuse(conn, code, end)
}

func refuse(conn io.Writer, code uint64, end *SessionError) error {
	if _, err := conn.Write(appendRefuse(nil, code, end)); err != nil {
		return err
	}
	return errRefused[code]
}

var errRefused = [...]error{
	refuseUnknown: errors.New("the session to be resumed is not known"),
	refuseStale:   errors.New("the session to be resumed has a newer carrier"),
	refuseEnded:   errors.New("the session to be resumed has ended"),
	refuseClosed:  errors.New("the acceptor is closed"),
}

// enter lets a carrier in.
func (a *Acceptor) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return net.ErrClosed
	case a.shaking >= mostShaking:
		return errors.New("too many carriers are at their beginning")
	}
	a.shaking++
	return nil
}

func (a *Acceptor) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shaking--
}

// find finds a session, or why there is none.
func (a *Acceptor) find(id sessionID) (s *Session, code uint64, end *SessionError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, refuseClosed, nil
	}
	a.expire()
	if s := a.sessions[id]; s != nil {
		return s, 0, nil
	}
	if end := a.ended[id]; end != nil {
		return nil, refuseEnded, end
	}
	return nil, refuseUnknown, nil
}

// add makes a session known, unless the acceptor is closed. The resumption's lock is held.
func (a *Acceptor) add(id sessionID, s *Session) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.sessions[id] = s
	}
	return !a.closed
}

// waits notes that a session has no carrier. If there are too many of these, the youngest ends: who makes sessions only to
// abandon them has none that is older than those of others. The resumption's lock is held.
func (a *Acceptor) waits(x *resumption, loss uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[x] = loss
	if len(a.waiting) <= x.cfg.MaxWaiting {
		return
	}
	youngest := x
	for y := range a.waiting {
		if y.born.After(youngest.born) {
			youngest = y
		}
	}
	loss = a.waiting[youngest]
	delete(a.waiting, youngest)
	time.AfterFunc(0, func() { youngest.giveUp(loss, "too many sessions wait for a new one") }) // it takes locks
}

// goesOn notes that a session has a carrier again. The resumption's lock is held.
func (a *Acceptor) goesOn(x *resumption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, x)
}

// remove forgets a session that has ended. If this end has ended it, the other may not know it yet. The resumption's lock is
// held.
func (a *Acceptor) remove(x *resumption, err *SessionError) {
	id := x.id
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, x)
	if _, ok := a.sessions[id]; !ok {
		return
	}
	delete(a.sessions, id)
	if err.Remote {
		return
	}
	a.expire()
	a.ended[id] = err
	a.order = append(a.order, endedAt{id, time.Now()})
}

// expire forgets why sessions have ended whose clients do not come back any more. Lock held.
func (a *Acceptor) expire() {
	if len(a.order) == 0 {
		return
	}
	grace := a.cfg.Resume.effective().Grace
	n := 0
	for n < len(a.order) && (len(a.order)-n >= mostEnded || time.Since(a.order[n].at) > grace) {
		delete(a.ended, a.order[n].id)
		n++
	}
	if n > 0 {
		a.order = append(a.order[:0], a.order[n:]...)
	}
}

// Close makes Serve fail from now on. Sessions that have a carrier go on and end with it; those that wait for one end.
func (a *Acceptor) Close() error {
	a.mu.Lock()
	sessions := a.sessions
	a.closed, a.sessions, a.ended, a.order = true, nil, nil, nil
	a.mu.Unlock()
	for _, s := range sessions {
		s.res.bar()
	}
	return nil
}
