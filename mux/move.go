package mux

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"io"
	mrand "math/rand/v2"
	"slices"
	"time"
)

// A session moves to a new carrier in three steps, before which nothing else is sent there:
//
//	resume     client → server    the session's id, the attempt's epoch, a nonce
//	challenge  server → client    a nonce, how many bytes it has received, a MAC; or refuse
//	proof      client → server    how many bytes it has received, from which offset on it sends, a MAC
//
// The old carrier goes on meanwhile. The client leaves it before the proof, and what it sends follows that, from the higher
// one of what the server has told here and acknowledged. The server leaves it when it has verified the proof. By
// then it may have more than it has told, so it drops what it knows from the new carrier's beginning. What it sends
// begins where the client has stopped.
//
// An epoch is used once, and a server switches only to one that is higher than all before. The MACs are over the session's id,
// the epoch, both nonces and all numbers that were told, so that a handshake proves nothing in another one. Without its
// key nobody can make an end switch, or leave a carrier. A refusal has no MAC, as a server that doesn't know the
// session has no key; it ends a session only if that has no carrier.

// Resume moves the session to a new carrier, be it that the present one has failed or that this is a better one. Only
// the session's client can do that, and only if both ends want it; see [Resume]. From then on conn is the session's, which
// closes it if it cannot be used. If Resume fails while the old carrier works, the session goes on with that. A
// second Resume overtakes one that is in progress, which fails.
//
// Resume returns when the other end has proved to be the one of the session and has been told to switch. If the other
// end has no such session any more, and this end no carrier, the session ends.
func (s *Session) Resume(ctx context.Context, conn io.ReadWriteCloser) error {
	if conn == nil {
		return s.opError("resume", errors.New("no connection given"))
	}
	var err error
	switch {
	case !s.client:
		err = errNotClient
	case s.res == nil:
		err = errNotResumable
	default:
		err = s.res.move(ctx, conn)
	}
	if err == nil {
		return nil
	}
	_ = conn.Close()
	if end := s.endErr(); end != nil {
		err = end
	}
	return s.opError("resume", err)
}

// within makes a context for an attempt, at whose end conn is closed. done ends it, and tells whether it has not ended
// before.
func within(ctx context.Context, conn io.Closer) (_ context.Context, cancel context.CancelCauseFunc, done func() bool) {
	ctx, stopTimer := context.WithTimeoutCause(ctx, handshakeTime, errHandshakeTime)
	ctx, cancel = context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return ctx, cancel, func() bool {
		ok := stop()
		cancel(nil)
		stopTimer()
		return ok
	}
}

// causeOr returns why the context has ended, which is why conn was closed, or else the error.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// move is Resume.
func (x *resumption) move(ctx context.Context, conn io.ReadWriteCloser) (err error) {
	ctx, cancel, done := within(ctx, conn)
	defer done()
	a, err := x.begin(ctx, cancel)
	if err != nil {
		return err
	}
	defer x.finish(a)
	if _, err := conn.Write(a.appendResume(nil)); err != nil {
		return causeOr(ctx, err)
	}
	h, frame, err := readHandshake(conn, kindChallenge, kindRefuse)
	if err != nil {
		return causeOr(ctx, err)
	}
	if h.kind == kindRefuse {
		return x.refused(parseRefuse(h, frame[headerSize:]))
	}
	if mac := a.parseChallenge(frame[headerSize:]); !hmac.Equal(mac, a.macS(x.master)) {
		return errNotAuthentic
	}
	return x.commit(ctx, a, conn, done)
}

// begin begins an attempt, which ends one that is in progress.
func (x *resumption) begin(ctx context.Context, cancel context.CancelCauseFunc) (*attempt, error) {
	stop := context.AfterFunc(ctx, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.cond.Broadcast()
	})
	defer stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.master == nil || x.barred {
		return nil, errNotResumable
	}
	for x.attempt != nil && !x.over && ctx.Err() == nil {
		x.attempt.cancel(errOvertaken)
		x.cond.Wait()
	}
	switch {
	case x.over:
		return nil, errEnded
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	x.epoch++
	a := &attempt{transcript: transcript{id: x.id, epoch: x.epoch}, cancel: cancel}
	_, _ = rand.Read(a.nonceC[:]) // never fails
	x.attempt = a
	return a, nil
}

func (x *resumption) finish(*attempt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.attempt = nil
	x.cond.Broadcast()
}

// refused ends the session if the other end does not have it any more.
func (x *resumption) refused(e *refusedError) error {
	x.mu.Lock()
	attached, cause := x.now != nil, x.cause
	x.mu.Unlock()
	if attached {
		return e
	}
	switch {
	case e.code == refuseEnded && e.end != nil:
		x.s.end(e.end)
	case e.code == refuseUnknown, e.code == refuseEnded, e.code == refuseClosed:
		text := e.Error()
		if cause != nil {
			text += "; " + cause.Reason
		}
		x.s.end(&SessionError{Code: codeUnknown, Reason: text, Remote: true, Protocol: true, Err: e})
	}
	return e
}

// commit leaves the old carrier, sends the proof, and goes on with the new carrier.
func (x *resumption) commit(ctx context.Context, a *attempt, conn io.ReadWriteCloser, done func() bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.committing = true
	defer func() {
		x.committing = false
		x.goOn()
		x.seek()
	}()
	switch {
	case x.over:
		return errEnded
	case x.now == nil:
	case x.now.stops:
		x.halt()
	default: // nothing but Close makes a Read of it return
		x.detach(carrierError("resume", errOvertaken))
	}
	if err := x.park(ctx); err != nil {
		return err
	}
	from, err := x.s.w.resumeFrom(a.offS)
	if err != nil {
		x.mu.Unlock()
		x.s.fail(err)
		x.mu.Lock()
		return err
	}
	a.from, a.offC = from, x.acks.received.Load()
	proof := a.appendProof(nil, x.master)
	x.mu.Unlock()
	_, err = conn.Write(proof)
	x.mu.Lock()
	switch {
	case x.over:
		return errEnded
	case err != nil:
		return causeOr(ctx, err)
	case !done():
		return context.Cause(ctx)
	}
	x.attach(newCarrier(conn), from, 0)
	return nil
}

const (
	backoffLeast = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// backoff is how long to wait before a try: half of that is at random, so that those who were cut off together do not come
// back together.
func backoff(try int) time.Duration {
	if try == 0 {
		return 0
	}
	d := min(backoffLeast<<min(try-1, 10), backoffMost)
	return d/2 + mrand.N(d/2+1)
}

// dial gets new carriers until one works, or the context ends.
func (x *resumption) dial(ctx context.Context) {
	for ctx.Err() == nil {
		x.mu.Lock()
		wait := backoff(x.tries)
		x.tries++
		x.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		err := x.dialOnce(ctx)
		if err == nil {
			return
		}
		x.s.log.Debug("mux: session not resumed", "remote", x.s.RemoteAddr(), "err", err)
	}
}

func (x *resumption) dialOnce(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, handshakeTime)
	conn, err := x.cfg.Dial(dialing)
	cancel()
	if err != nil {
		return err
	}
	return x.s.Resume(ctx, conn)
}

// admit takes part in a handshake that a client has begun, and goes on with its carrier. Of the handshakes with
// one session that are in progress, the first makes room for one too many.
func (x *resumption) admit(ctx context.Context, conn io.ReadWriteCloser, request []byte) error {
	ctx, cancel, done := within(ctx, conn)
	defer done()
	a := &attempt{cancel: cancel}
	a.parseResume(request)
	if err := x.challenge(ctx, conn, a); err != nil {
		return causeOr(ctx, err)
	}
	defer x.forget(a)
	_, frame, err := readHandshake(conn, kindProof, kindProof)
	if err != nil {
		return causeOr(ctx, err)
	}
	if mac := a.parseProof(frame[headerSize:]); !hmac.Equal(mac, a.macC(x.master)) {
		return errNotAuthentic
	}
	return x.take(ctx, a, conn, done)
}

// mostIncoming is how many handshakes with one session may be in progress.
const mostIncoming = 4

// challenge answers the beginning of a handshake.
func (x *resumption) challenge(ctx context.Context, conn io.Writer, a *attempt) error {
	x.mu.Lock()
	if x.over || a.epoch <= x.epoch {
		code, end := uint64(refuseStale), (*SessionError)(nil)
		if x.over {
			code, end = refuseEnded, x.s.life.err.(*SessionError)
		}
		x.mu.Unlock()
		return refuse(conn, code, end)
	}
	if len(x.incoming) == mostIncoming {
		x.incoming[0].cancel(errOvertaken)
		x.incoming = slices.Delete(x.incoming, 0, 1)
	}
	x.incoming = append(x.incoming, a)
	a.offS = x.acks.received.Load()
	x.mu.Unlock()
	_, _ = rand.Read(a.nonceS[:]) // never fails
	_, err := conn.Write(a.appendChallenge(nil, x.master))
	if err != nil {
		x.forget(a)
	}
	return err
}

func (x *resumption) forget(a *attempt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := slices.Index(x.incoming, a); i >= 0 {
		x.incoming = slices.Delete(x.incoming, i, i+1)
	}
	x.seek()
}

// overtake ends the handshakes that the one of an attempt has left no prospect. They would wait in vain, some until their
// time is over: the reader is parked for the highest epoch, and one that looks too late finds it at work again. Lock held.
func (x *resumption) overtake(a *attempt) {
	for _, other := range x.incoming {
		if other != a && other.epoch <= x.epoch {
			other.cancel(errOvertaken)
		}
	}
}

// take goes on with a carrier whose client has proved that it is the session's.
func (x *resumption) take(ctx context.Context, a *attempt, conn io.ReadWriteCloser, done func() bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over:
		return errEnded
	case x.barred && x.now == nil:
		return errEnded
	case a.epoch <= x.epoch:
		return errOvertaken
	case ctx.Err() != nil: // and the old carrier is none the worse for it
		return context.Cause(ctx)
	}
	if _, err := x.s.w.resumeAt(a.offC); err == errOvertaken {
		return err
	}
	x.epoch = a.epoch
	x.overtake(a)
	if x.now != nil {
		x.detach(carrierError("resume", errOvertaken))
	}
	if err := x.park(ctx); err != nil {
		return err
	}
	if a.epoch != x.epoch {
		return errOvertaken
	}
	received := x.acks.received.Load()
	from, err := x.s.w.resumeAt(a.offC)
	if err == errOvertaken {
		return err
	}
	if err == nil && a.from > received {
		err = protocolErrorf(codeState, "a resume goes on at %d of %d bytes", a.from, received)
	}
	if err != nil {
		x.mu.Unlock()
		x.s.fail(err)
		x.mu.Lock()
		return err
	}
	if !done() {
		return context.Cause(ctx)
	}
	x.attach(newCarrier(conn), from, received-a.from)
	return nil
}
