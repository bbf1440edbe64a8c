package astranet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// session has the streams between two nodes. It is carried by a tunnel, here a stream of the link between them, and goes on
// with another when that is lost. The node with the lower id is its client, and opens the tunnels; the other asks it to.
type session struct {
	peer *peer
	mux  *mux.Session

	// Guarded by node.mu.
	users   int  // dials that are about to open a stream
	retired bool // it takes no more streams, and is about to end
	quiet   mux.Stats
}

// Codes of a session's end.
const (
	sessionClosed    = 0
	sessionIdle      = 1 // nothing was going on: who wants something opens another
	sessionRestarted = 2 // the other node is another process
	sessionDenied    = 3 // the certificate of the other node is no longer good
)

const (
	// mostSessions is how many sessions there may be with a node. One is enough; two may begin at once.
	mostSessions = 2
	// mostBegun is how many tunnels of a node may be beginning, or carry sessions that have not ended altogether.
	mostBegun = 8
	// idleAfter is how long a session is kept without streams.
	idleAfter = time.Minute
)

// sessionConfig is for sessions with a peer; nil for those that come.
func (n *node) sessionConfig(p *peer) *mux.Config {
	r := &mux.Resume{Grace: n.set.grace()}
	if p != nil {
		r.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) { return n.tunnelTo(ctx, p) }
	}
	return &mux.Config{
		Resume:    r,
		KeepAlive: -1, // the link is kept alive
		Timeout:   n.set.grace(),
		Logger:    n.set.Logger,
	}
}

// tunnelTo opens a tunnel to a node, as soon as there is a link.
func (n *node) tunnelTo(ctx context.Context, p *peer) (io.ReadWriteCloser, error) {
	l, err := p.link(ctx)
	if err != nil {
		return nil, err
	}
	return l.open(ctx, streamTunnel)
}

// sessionLocked returns the session for new streams, or nil. It is called with node.mu held.
func (p *peer) sessionLocked() *session {
	for _, s := range slices.Backward(p.sessions) {
		if !s.retired && s.mux.Err() == nil {
			return s
		}
	}
	return nil
}

// session returns a session with a node, and opens one if there is none. It stays at least until the caller is done with opening a
// stream, and calls node.opened.
func (n *node) session(ctx context.Context, p *peer) (*session, error) {
	for {
		n.mu.Lock()
		next, closed := n.linked, n.closed
		s := p.sessionLocked()
		if s != nil {
			s.users++
		}
		begin := s == nil && !p.opening && !closed && (p.id >= n.id)
		if begin {
			p.opening = true
		}
		if s == nil && p.id < n.id && len(p.links) > 0 && p.called != p.links[0] {
			p.called = p.links[0]
			p.called.callLocked()
		}
		linked := len(p.links) > 0 || p.id == n.id
		n.mu.Unlock()
		switch {
		case s != nil:
			return s, nil
		case closed:
			return nil, ErrNodeClosed
		case begin:
			if err := n.beginSession(ctx, p); err != nil {
				return nil, err
			}
			continue
		case !linked:
			return nil, errTryAgain // the services went with the links
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, p.timedOut(ctx, "it does not open a session")
		}
	}
}

// opened is called when a dial that has got a session has opened its stream, or has failed to. stale tells that the
// session takes no more.
func (n *node) opened(s *session, stale bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.users--
	s.retired = s.retired || stale
}

// timedOut is the error of a dial whose context has ended.
func (p *peer) timedOut(ctx context.Context, why string) error {
	return &NodeError{Host: p.id, Node: p.name, Err: ctx.Err(), Reason: why}
}

// beginSession opens a session, as its client.
func (n *node) beginSession(ctx context.Context, p *peer) error {
	m, err := n.dialSession(ctx, p)
	n.mu.Lock()
	p.opening = false
	closed := n.closed
	if err == nil && !closed {
		s := n.addSessionLocked(p, m)
		n.work.Go(s.run)
	} else {
		n.forgetLocked(p)
	}
	n.changedLocked()
	n.mu.Unlock()
	if err == nil && closed {
		_ = m.Close()
		return ErrNodeClosed
	}
	return err
}

func (n *node) dialSession(ctx context.Context, p *peer) (*mux.Session, error) {
	if p.id == n.id {
		return n.dialSelf(p)
	}
	n.mu.Lock()
	linked := len(p.links) > 0
	n.mu.Unlock()
	if !linked {
		return nil, errTryAgain
	}
	st, err := n.tunnelTo(ctx, p)
	if err != nil {
		if ctx.Err() != nil {
			return nil, p.timedOut(ctx, "no session could be opened")
		}
		return nil, errTryAgain // the link has just ended
	}
	return mux.Client(st, n.sessionConfig(p))
}

// dialSelf makes a session of the node with itself.
func (n *node) dialSelf(p *peer) (*mux.Session, error) {
	c, s := pipe.New(pipe.DefaultSize)
	server, err := mux.Server(s, nil)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		_ = server.Close()
		return nil, ErrNodeClosed
	}
	n.work.Go(func() { n.serve(&session{peer: p, mux: server}) })
	n.mu.Unlock()
	return mux.Client(c, nil)
}

// addSessionLocked takes a session in use, in place of the oldest if there are too many. It is called with mu held, when the
// node is not closed.
func (n *node) addSessionLocked(p *peer, m *mux.Session) *session {
	s := &session{peer: p, mux: m}
	if len(p.sessions) >= mostSessions {
		oldest := p.sessions[0]
		p.sessions = slices.Delete(p.sessions, 0, 1)
		oldest.retired = true
		n.work.Go(func() { _ = oldest.mux.CloseWithError(sessionIdle, "another session has taken its place") })
	}
	p.sessions = append(p.sessions, s)
	p.called, p.wanted = nil, false
	n.changedLocked()
	return s
}

// tunnel takes a tunnel that the other end of a link has opened: it begins a session, or one goes on with it.
func (l *link) tunnel(st *mux.Stream) {
	n, p := l.node, l.peer
	if !n.enter(p) {
		_ = st.Reset(codeBusy)
		_ = st.Close()
		return
	}
	m, resumed, err := n.acceptor.Serve(n.ctx, st)
	if err != nil || resumed {
		n.leave(p)
		return
	}
	n.mu.Lock()
	if n.closed || !l.up {
		n.mu.Unlock()
		_ = m.CloseWithError(sessionClosed, "the link has ended")
		n.leave(p)
		return
	}
	s := n.addSessionLocked(p, m)
	n.work.Go(func() {
		s.run()
		n.leave(p)
	})
	n.mu.Unlock()
}

// enter counts a tunnel that has come, if there are not too many.
func (n *node) enter(p *peer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.tunnels >= mostBegun {
		return false
	}
	p.tunnels++
	return true
}

func (n *node) leave(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.tunnels--
}

// run serves the session until it ends, altogether.
func (s *session) run() {
	p := s.peer
	n := p.node
	if p.id >= n.id { // only its client ends it when it is idle
		stop := make(chan struct{})
		defer close(stop)
		n.work.Go(func() { s.watchIdle(stop) })
	}
	n.serve(s)
	<-s.mux.Done()
	n.mu.Lock()
	p.sessions = slices.DeleteFunc(p.sessions, func(other *session) bool { return other == s })
	n.wantedLocked(p)
	n.forgetLocked(p)
	n.changedLocked()
	n.mu.Unlock()
	_ = s.mux.Close() // returns when its goroutines have
}

// watchIdle ends the session when it has been without streams for a while.
func (s *session) watchIdle(stop <-chan struct{}) {
	tick := time.NewTicker(idleAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		if s.retire() {
			_ = s.mux.CloseWithError(sessionIdle, "no streams")
			return
		}
	}
}

// retire tells whether nothing has been going on since the last time, and nothing can any more: a dial from here takes another
// session, and one that comes is not answered.
func (s *session) retire() bool {
	n := s.peer.node
	n.mu.Lock()
	defer n.mu.Unlock()
	now := s.mux.Stats()
	if s.users == 0 && now.Streams == 0 && now.Opened == s.quiet.Opened && now.Accepted == s.quiet.Accepted {
		s.retired = true
	}
	s.quiet = now
	return s.retired
}

// endRestarted ends the session of a process that is no more.
func (s *session) endRestarted() {
	_ = s.mux.CloseWithError(sessionRestarted, "the node has been restarted")
}

// over tells whether an error is that of a session that has ended, so that another may do.
func over(err error) bool {
	if errors.Is(err, mux.ErrGoAway) {
		return true
	}
	_, ok := errors.AsType[*mux.SessionError](err)
	return ok
}

// Codes of what has ended a session by itself: docs/mux.md.
const (
	muxTimeout = 7
	muxCarrier = 8
	muxUnknown = 9
)

// lost says what the end of a session means for what was going on in it.
func (p *peer) lost(se *mux.SessionError) error {
	n := p.node
	if n.isClosed() {
		return ErrNodeClosed
	}
	e := &NodeError{Host: p.id, Node: p.name, Err: ErrLost}
	switch {
	case se.Protocol && (se.Code == muxCarrier || se.Code == muxTimeout):
		e.Reason = fmt.Sprintf("no link to it for %v", n.set.grace())
	case se.Protocol && se.Code == muxUnknown:
		e.Reason = "it does not know the session any more"
	case se.Protocol:
		e.Reason = se.Error()
	case se.Code == sessionClosed:
		e.Reason = "the node was closed"
	case se.Code == sessionRestarted:
		e.Reason = "the node has been restarted"
	case se.Code == sessionDenied:
		e.Err, e.Reason = ErrDenied, se.Reason
	default:
		e.Reason = se.Error()
	}
	return e
}
