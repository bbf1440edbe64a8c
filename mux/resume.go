package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Resume lets a session outlive its carrier: when that fails, the session waits for a new one and goes on where it was,
// no byte lost or doubled. Its streams see only a pause. Both ends must want it, and the server's session must come from an
// [Acceptor]; otherwise the session ends with its carrier. It costs a copy of what is sent, which is kept
// until the other end has acknowledged it.
//
// While a session has no carrier, Reads and Pings wait, Writes go on until Retain bytes are kept, and deadlines and
// Close work as ever. A carrier that is silent for Config.Timeout counts as failed.
//
// The client of a session moves it, by itself with Dial, or when the program calls [Session.Resume]; that also while
// the present carrier works. A new carrier counts only after both ends have proved that they have the
// session's keys, made when it began: by an X25519 exchange and, where both ends of the first carrier are TLS
// (a *tls.Conn or anything with its ConnectionState method), that connection's exporter. Without TLS the keys
// are safe from who only listens, not from who changes what is sent at the session's beginning. They protect
// against others' taking over a session, and nothing else: what is sent is encrypted if the carrier does it. If
// something between the ends terminates TLS and speaks TLS on, their exporters differ and no resume succeeds.
type Resume struct {
	// Grace is how long a session without a carrier waits for one before it ends. 0 is 30 s.
	Grace time.Duration
	// Retain is how many bytes may be sent that the other end has not acknowledged; Writes wait at the limit. What else must
	// be sent, as opens, resets and credit, may take a megabyte more, before the session ends. It bounds the throughput to
	// Retain in a round trip. 0 is 16 MiB; it is 64 KiB at least.
	Retain int
	// MaxWaiting is how many sessions of an Acceptor may be without a carrier at once: strangers could make any number of
	// them, since a carrier that fails costs nothing. At the limit the youngest session ends. 0 is 16384.
	MaxWaiting int
	// Dial gets a new carrier for a client, at once when the present one has failed, and then again, after 50 ms and ever
	// longer times up to 2 s. It is called on a goroutine of its own and must return when the context ends, 10 s
	// later at most. If it is nil, the program calls Session.Resume.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// Lost, if not nil, is called on a goroutine of its own when a carrier has failed, and the session waits for
	// another, if none has come already. The error, a *net.OpError, says why: its cause is that of the carrier, or ErrTimeout.
	Lost func(s *Session, err error)
}

const (
	defaultGrace  = 30 * time.Second
	defaultRetain = 16 << 20
	leastRetain   = 64 << 10
	// defaultWaiting sessions take about 450 MB, if nothing is in them.
	defaultWaiting = 16 << 10
	// handshakeTime bounds the time that a new carrier has for its handshake.
	handshakeTime = 10 * time.Second
)

// effective returns r with the defaults filled in.
func (r Resume) effective() Resume {
	if r.Grace <= 0 {
		r.Grace = defaultGrace
	}
	r.Retain = orDefault(r.Retain, defaultRetain, leastRetain, 1<<30)
	r.MaxWaiting = orDefault(r.MaxWaiting, defaultWaiting, 1, math.MaxInt)
	return r
}

// A resumption is what a session that can be resumed has more than others.
//
// Who leads the reader, and finds that the carrier has failed, makes the session's goroutine lead, which waits in next
// for another carrier: it is parked. Only then may the carrier be changed, since only then nobody counts bytes
// of the old one. The writer is told to begin anew; a write to the old carrier that is still in progress does
// not count. So both offsets are exact at any time, whatever happened to what was on its way.
type resumption struct {
	s        *Session
	cfg      Resume    // effective
	acceptor *Acceptor // of a server
	born     time.Time

	offer  *offer // until the other end's has come
	wanted bool   // the other end's hello wants resumption
	acks   acks

	shown   atomic.Pointer[carrier] // the last carrier, for addresses
	halted  atomic.Bool             // the reader must park although the carrier works
	resumed atomic.Uint64           // how often

	// The lock may be taken with no other held, and others be taken with it held: the acceptor's, the writer's, the reader's.
	mu     sync.Mutex
	cond   sync.Cond // parked, current, halted, over or attempt has changed
	id     sessionID
	master []byte   // nil until the keys are there
	epoch  uint64   // the highest: a client's of its last attempt, a server's of what it has switched to
	over   bool     // the session has ended
	barred bool     // there will be no other carrier
	parked bool     // the reader waits for a carrier
	now    *carrier // nil while there is none
	skip   uint64   // how many bytes that come first on it are known

	// While there is no carrier.
	cause   *SessionError
	grace   *time.Timer
	seeking context.Context // until there is one
	redial  context.CancelFunc
	sought  bool   // seek was called
	losses  uint64 // how often there was none
	tries   int    // of Dial since something has come
	marked  uint64 // received, when the carrier before was lost

	attempt    *attempt   // a client's
	committing bool       // the attempt leaves the old carrier
	incoming   []*attempt // a server's, oldest first
}

// An attempt is a handshake in progress.
type attempt struct {
	transcript
	cancel context.CancelCauseFunc
}

func newResumption(s *Session, cfg *Resume, acceptor *Acceptor) (*resumption, error) {
	x := &resumption{s: s, cfg: cfg.effective(), acceptor: acceptor, born: time.Now(), now: s.carrier}
	offer, err := newOffer(s.carrier, x.cfg.Retain)
	if err != nil {
		return nil, err
	}
	x.offer = offer
	x.cond.L = &x.mu
	x.acks.w = &s.w
	x.shown.Store(s.carrier)
	s.w.kept = newRetained(x.cfg.Retain)
	s.w.lost = func(c *carrier, err *SessionError) {
		if !x.lost(c, err) {
			s.end(err)
		}
	}
	return x, nil
}

// key takes the other end's key frame. The reader calls it.
func (x *resumption) key(h header, payload []byte) error {
	if x.offer == nil || !x.wanted {
		return protocolErrorf(codeState, "a key comes that is not expected")
	}
	id, master, err := x.offer.agree(x.s.client, h, payload)
	switch {
	case err != nil && x.offer.exporter == nil:
		return protocolErrorf(codeFrame, "invalid key: %v", err)
	case err != nil:
		// Some TLS connections have no exporter, which is known only after their handshake.
		x.s.log.Info("mux: session cannot be resumed", "remote", x.s.RemoteAddr(), "err", err)
		x.bar()
	}
	retain := binary.BigEndian.Uint64(payload[publicSize+nonceSize:])
	x.offer = nil
	x.acks.every.Store(max(leastRetain/4, min(retain/4, ackMost)))
	if err != nil {
		return nil // and acknowledge, as the other end may be content
	}
	x.mu.Lock()
	x.id, x.master = id, master
	closed := x.acceptor != nil && !x.over && !x.acceptor.add(id, x.s)
	x.mu.Unlock()
	if closed {
		x.bar()
	}
	return nil
}

// bar makes the session end with its carrier, now if it has none.
func (x *resumption) bar() {
	x.mu.Lock()
	x.barred = true
	none, cause := x.now == nil, x.cause
	x.mu.Unlock()
	if none {
		x.s.end(cause)
	}
}

// mayRead is asked before the carrier is read.
func (x *resumption) mayRead() bool {
	x.acks.soon()
	return !x.halted.Load()
}

// lost is called when a carrier has failed. It is false if the session ends therefore.
func (x *resumption) lost(c *carrier, cause *SessionError) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over || x.master == nil || x.barred:
		return false
	case c == x.now:
		x.detach(cause)
		x.seek()
	}
	return true
}

// silent is called when nothing has come for too long. It is false if the session ends therefore.
func (x *resumption) silent(cause *SessionError) bool {
	x.mu.Lock()
	c := x.now
	x.mu.Unlock()
	return c == nil || x.lost(c, cause)
}

func (x *resumption) detached() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now == nil
}

// detach leaves the carrier, and begins to wait for another. Lock held.
func (x *resumption) detach(cause *SessionError) {
	c := x.now
	x.now = nil
	x.s.w.detach()
	x.drop(c)
	x.losses++
	x.cause, x.sought = cause, false
	loss := x.losses
	x.grace = time.AfterFunc(x.cfg.Grace, func() { x.giveUp(loss, fmt.Sprintf("no new carrier has come for %v", x.cfg.Grace)) })
	x.seeking, x.redial = context.WithCancel(context.Background())
	x.s.log.Debug("mux: carrier lost", "remote", x.s.RemoteAddr(), "err", &lostError{cause})
	if got := x.acks.received.Load(); got != x.marked {
		x.tries, x.marked = 0, got
	}
}

// seek begins to look for another carrier, if the session needs one and none is about to come. Lock held.
func (x *resumption) seek() {
	if x.now != nil || x.over || x.sought || x.committing || len(x.incoming) > 0 {
		return
	}
	x.sought = true
	if x.acceptor != nil {
		x.acceptor.waits(x, x.losses)
	}
	if x.s.client && x.cfg.Dial != nil {
		go x.dial(x.seeking)
	}
	if x.cfg.Lost != nil {
		go x.cfg.Lost(x.s, x.s.opError("carry", &lostError{x.cause}))
	}
}

// drop closes a carrier that nobody may use any more, and makes who reads it let go of it. Close may take its time, as TLS
// does when nobody takes its last word. Lock held.
func (x *resumption) drop(c *carrier) {
	x.s.r.leave(c)
	x.s.life.serving.Add(1)
	go func() {
		defer x.s.life.leave()
		_ = c.Close()
	}()
	x.s.r.lead.recall()
}

// giveUp ends the session as no carrier has come. why says how that is.
func (x *resumption) giveUp(loss uint64, why string) {
	x.mu.Lock()
	if x.over || x.now != nil || x.losses != loss {
		x.mu.Unlock()
		return
	}
	cause := x.cause
	x.mu.Unlock()
	x.s.end(&SessionError{Code: codeCarrier, Reason: cause.Reason + "; " + why, Protocol: true, Err: cause.Err})
}

// end is called when the session ends. It tells whether there is a carrier.
func (x *resumption) end(err *SessionError) (attached bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.acceptor != nil {
		x.acceptor.remove(x, err)
	}
	x.cond.Broadcast()
	if x.grace != nil {
		x.grace.Stop()
		x.redial()
	}
	if x.attempt != nil {
		x.attempt.cancel(errEnded)
	}
	for _, a := range x.incoming {
		a.cancel(errEnded)
	}
	return x.now != nil
}

// park waits until the reader waits for a carrier. Lock held; it is released meanwhile.
func (x *resumption) park(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.cond.Broadcast()
	})
	defer stop()
	for !x.parked && !x.over && ctx.Err() == nil {
		x.cond.Wait()
	}
	switch {
	case x.over:
		return errEnded
	case x.parked:
		return nil
	}
	return context.Cause(ctx)
}

// halt makes the reader park while the carrier works. Lock held.
func (x *resumption) halt() {
	x.halted.Store(true)
	x.s.r.lead.recall()
	x.s.r.interrupt()
}

// goOn ends halt.
func (x *resumption) goOn() {
	x.halted.Store(false)
	x.cond.Broadcast()
}

// attach makes the session go on with a new carrier, the reader being parked. from is the offset of the first byte
// to write to it; the first skip bytes that come on it have come already. Lock held.
func (x *resumption) attach(c *carrier, from, skip uint64) {
	old := x.now
	x.now, x.skip = c, skip
	x.shown.Store(c)
	x.s.r.attach(c)
	x.s.w.attach(c, from)
	x.s.pings.revive()
	if old != nil {
		x.drop(old)
	}
	if x.grace != nil {
		x.grace.Stop()
		x.redial()
	}
	if x.acceptor != nil {
		x.acceptor.goesOn(x)
	}
	x.resumed.Add(1)
	x.s.log.Debug("mux: session resumed", "remote", x.s.RemoteAddr(), "epoch", x.epoch)
	x.goOn()
}

// next waits for a carrier, and reads what is known from it. The reader calls it when it has lost its own.
func (x *resumption) next() error {
	for {
		x.mu.Lock()
		x.parked = true
		x.cond.Broadcast()
		for !x.over && (x.now == nil || x.halted.Load()) {
			x.cond.Wait()
		}
		x.parked = false
		over := x.over
		x.mu.Unlock()
		if over {
			return errEnded
		}
		if err := x.skipKnown(); err != errSwitch {
			return err
		}
	}
}

// skipKnown reads what has come before, on another carrier.
func (x *resumption) skipKnown() error {
	var buf [4 << 10]byte
	for x.skip > 0 {
		n, err := x.s.r.carry(buf[:min(x.skip, uint64(len(buf)))])
		if err != nil {
			return err
		}
		x.skip -= uint64(n)
	}
	return nil
}

var (
	errNotClient     = errors.New("only the client of a session moves it")
	errNotResumable  = errors.New("the two ends have not agreed on resumption, or not yet")
	errOvertaken     = errors.New("another carrier has overtaken this one")
	errNotAuthentic  = errors.New("the other end has not the session's keys")
	errHandshakeTime = errors.New("the handshake takes too long")
)
