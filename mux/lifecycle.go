package mux

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// A lifecycle is how a session ends: the first cause counts. err may be read once done is closed.
type lifecycle struct {
	once    sync.Once
	err     error
	done    chan struct{}
	linger  *time.Timer // closes the carrier, if the other end doesn't
	drained chan struct{}
	serving atomic.Int32  // how many goroutines run: the two, and those that close old carriers
	served  chan struct{} // closed when they have ended
	drainer sync.Once
}

func (l *lifecycle) init() {
	l.done = make(chan struct{})
	l.drained = make(chan struct{})
	l.served = make(chan struct{})
	l.serving.Store(2)
}

// drain is called when the last stream of a session that drains has ended.
func (l *lifecycle) drain() { l.drainer.Do(func() { close(l.drained) }) }

// leave is called when one of these goroutines ends.
func (l *lifecycle) leave() {
	if l.serving.Add(-1) == 0 {
		close(l.served)
	}
}

// ended tells whether the session has ended.
func (s *Session) ended() bool {
	select {
	case <-s.life.done:
		return true
	default:
		return false
	}
}

// endErr is why the session has ended, nil while it hasn't.
func (s *Session) endErr() error {
	if s.ended() {
		return s.life.err
	}
	return nil
}

// lingerTime is how long the end of a session may take to reach the other end.
const lingerTime = time.Second

// end ends the session, if nothing has before. What waits on it and its streams fails with err.
func (s *Session) end(err *SessionError) (first bool) {
	s.life.once.Do(func() {
		first = true
		s.life.err = err
		close(s.life.done)
		s.pings.stop()
		s.r.lead.close()
		attached := s.res == nil || s.res.end(err)
		s.tell(err, attached)
		s.mu.Lock()
		open := s.all()
		s.mu.Unlock()
		for _, st := range open {
			st.fail()
		}
		s.log.Debug("mux: session ended", "remote", s.RemoteAddr(), "err", err)
	})
	return first
}

// tell tells the other end why, unless that has told us or there is no way.
func (s *Session) tell(err *SessionError, attached bool) {
	if !attached || err.Remote || err.Protocol && err.Code == codeCarrier {
		s.w.abort(err)
		_ = s.current().Close()
		return
	}
	s.w.finish(err.append(nil))
	s.mu.Lock()
	s.life.linger = time.AfterFunc(lingerTime, func() { _ = s.current().Close() })
	s.mu.Unlock()
}

// shorten cuts a text at n bytes at most, and no letter in half.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fail ends the session for an error of the carrier, or of what came from it.
func (s *Session) fail(err error) {
	if e, ok := err.(*SessionError); ok {
		s.end(e)
		return
	}
	s.end(carrierError("carrier", err))
}

// serve is the goroutine that reads.
func (s *Session) serve() {
	defer s.life.leave()
	err := s.r.run()
	e, ok := err.(*SessionError)
	if !ok {
		e = carrierError("read", err)
	}
	s.end(e)
	s.linger(e)
}

// linger sees a session off that this end has ended: the carrier is closed when the other end has closed it, having
// read why, or after some time. To close it at once could take the reason away from the other end, if there is
// something of its that was not read. why is why the goroutine reads no more frames: if it is the other end's close, there
// is nothing to wait for.
func (s *Session) linger(why *SessionError) {
	c, empty := s.current(), 0
	for err := error(nil); !why.Remote && err == nil && empty < mostEmpty || errors.Is(err, os.ErrDeadlineExceeded) && s.r.goOn(); {
		var n int
		n, err = c.Read(s.r.buf)
		if empty++; n > 0 {
			empty = 0
		}
	}
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.linger != nil {
		s.life.linger.Stop()
	}
}

// flush is the goroutine that writes.
func (s *Session) flush() {
	defer s.life.leave()
	s.w.run()
	s.current().closeWrite()
	if s.res != nil {
		s.w.discard()
	}
}

// Close ends the session: what was written to its streams is sent, then the other end is told. What is in progress on the
// session and its streams, on both ends, fails with a *SessionError that is net.ErrClosed. Close returns when the
// carrier is closed, which takes a second at most. A second Close returns nil. A carrier whose Read goes on after its
// Close, such as a program's standard input, keeps a goroutine until that returns. A session that has lost its carrier
// and can be resumed has no way to tell the other end, which waits until its Grace is over.
func (s *Session) Close() error { return s.CloseWithError(0, "") }

// CloseWithError is Close with a code and a reason, of 1024 bytes at most, for the other end.
func (s *Session) CloseWithError(code uint64, reason string) error {
	s.end(&SessionError{Code: code, Reason: reason})
	select {
	case <-s.life.served:
	case <-time.After(2 * lingerTime): // the carrier's Close doesn't end its Read or Write
	}
	return nil
}

// Done returns a channel that is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.life.done }

// Err returns why the session has ended, a *SessionError, or nil while it has not.
func (s *Session) Err() error { return s.endErr() }

// Shutdown ends the session when it is not needed any more: from now on neither end opens streams, Open failing with ErrGoAway,
// and once the present ones have ended, the session is closed. If the context ends before, Shutdown returns its
// error, and the session goes on without new streams. If the session fails before, or the other end closes it, Shutdown returns
// why.
func (s *Session) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		s.w.plain(kindGoAway, 0)
		notify(s.openable)
		if len(s.streams) == 0 {
			s.life.drain()
		}
	}
	s.mu.Unlock()
	select {
	case <-s.life.drained:
		return s.Close()
	case <-s.life.done:
	case <-ctx.Done():
		return s.opError("shutdown", ctx.Err())
	}
	select {
	case <-s.life.drained:
		return s.Close()
	default:
	}
	if e := s.life.err.(*SessionError); e.Remote || e.Protocol {
		return s.opError("shutdown", e)
	}
	return s.Close()
}
