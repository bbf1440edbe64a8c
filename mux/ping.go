package mux

import (
	"context"
	"sync"
	"time"
)

// pings measure the path, and find out whether the other end is there.
type pings struct {
	s         *Session
	keepAlive time.Duration // 0 is never
	timeout   time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	waiting map[uint64]*ping // by id
	next    uint64
	rtt     time.Duration // the last
	least   time.Duration // the least of late: that of the path, without queues
	leastAt time.Time
	lastAt  time.Time // when rtt was measured

	reads, rounds       uint64    // of the reader and the writer when the timer fired last
	lastTick            time.Time // when the timer fired last
	lastRead, lastRound time.Time // when they changed, at the earliest and at the latest; lastRound also if there was nothing to write
	asked               bool      // for a sign of life
	question            uint64    // the ping that did
}

// A ping is on its way.
type ping struct {
	sent time.Time
	lost bool               // it was sent again, so that its time says nothing of the path
	done chan time.Duration // has room for one
}

// leastFor is how long a least RTT counts before a longer one does, up to a quarter longer: paths change, but what makes
// it longer may also be our own queues.
const leastFor = 10 * time.Second

func (p *pings) init(s *Session, keepAlive, timeout time.Duration) {
	p.s, p.keepAlive, p.timeout = s, keepAlive, timeout
	p.waiting = make(map[uint64]*ping)
}

// start begins to watch the other end, and measures the path for the first time.
func (p *pings) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.lastTick, p.lastRead, p.lastRound = now, now, now
	p.timer = time.AfterFunc(p.interval(), p.tick)
	p.send(now)
}

// interval is how often to look. What is seen at one tick has happened at the one before or later, so a silence may
// count as that much longer than it is.
func (p *pings) interval() time.Duration {
	if p.keepAlive == 0 {
		return max(p.timeout/8, time.Millisecond)
	}
	return max(min(p.keepAlive/4, p.timeout/8), time.Millisecond)
}

// send sends a ping, whose answer only measures. Lock held.
func (p *pings) send(now time.Time) *ping {
	p.next++
	pg := &ping{sent: now, done: make(chan time.Duration, 1)}
	p.waiting[p.next] = pg
	p.s.w.plain(kindPing, p.next)
	return pg
}

// tick looks whether the other end is alive. Any byte that has come since the last time is a sign of life.
func (p *pings) tick() {
	if p.s.res != nil && p.s.res.detached() {
		p.revive()
	}
	if p.dead(time.Now()) {
		err := &SessionError{Code: codeTimeout, Reason: ErrTimeout.text, Protocol: true, Err: ErrTimeout}
		if p.s.res != nil && p.s.res.silent(err) {
			p.revive()
		} else {
			p.s.end(err)
		}
	}
}

// revive begins to watch the other end anew, as there is a new carrier, or none.
func (p *pings) revive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.lastRead, p.lastRound, p.asked = now, now, false
	for _, pg := range p.waiting {
		pg.lost = true
	}
	if !p.stopped && p.timer != nil {
		p.timer.Reset(p.interval())
	}
}

func (p *pings) dead(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	if reads := p.s.r.reads.Load(); reads != p.reads {
		p.reads, p.lastRead, p.asked = reads, p.lastTick, false
	}
	p.lastTick = now
	if rounds, busy := p.s.w.progress(p.rounds); rounds != p.rounds || !busy {
		p.rounds, p.lastRound = rounds, now
	}
	silent := now.Sub(p.lastRead)
	watched := p.keepAlive > 0 || !p.s.r.greeted.Load()
	if watched && (silent >= p.timeout || now.Sub(p.lastRound) >= p.timeout) {
		return true
	}
	if p.keepAlive > 0 && silent >= p.keepAlive && !p.asked {
		p.asked = true
		delete(p.waiting, p.question) // if anything but its answer has come, and so every time
		p.send(now)
		p.question = p.next
	}
	p.timer.Reset(p.interval())
	return false
}

func (p *pings) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// pongs is called when the answer to a ping has come. It tells whether there was such a ping.
func (s *Session) pongs(id uint64) bool {
	p := &s.pings
	p.mu.Lock()
	defer p.mu.Unlock()
	pg := p.waiting[id]
	if pg == nil {
		return false
	}
	delete(p.waiting, id)
	now := time.Now()
	rtt := now.Sub(pg.sent)
	if pg.lost {
		pg.done <- rtt
		return true
	}
	p.rtt, p.lastAt = rtt, now
	switch {
	case p.least == 0 || rtt <= p.least:
		p.least, p.leastAt = rtt, now
	case now.Sub(p.leastAt) > leastFor:
		p.least, p.leastAt = min(rtt, p.least+p.least/4), now
	}
	s.far.Store(p.least > farAway)
	pg.done <- rtt
	return true
}

// Ping asks the other end for an answer, and returns how long that took. It is answered before data that waits, but not before
// data that is on its way. The error's cause is that of the context, or why the session has ended.
func (s *Session) Ping(ctx context.Context) (time.Duration, error) {
	p := &s.pings
	p.mu.Lock()
	pg := p.send(time.Now())
	id := p.next
	p.mu.Unlock()
	s.r.lead.await()
	defer s.r.lead.awaited()
	var err error
	select {
	case rtt := <-pg.done:
		return rtt, nil
	case <-s.life.done:
		err = s.life.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	delete(p.waiting, id)
	p.mu.Unlock()
	return 0, s.opError("ping", err)
}

// RTT returns how long the last ping took, 0 if there was none. The session pings by itself, at its beginning and
// from time to time.
func (s *Session) RTT() time.Duration {
	s.pings.mu.Lock()
	defer s.pings.mu.Unlock()
	return s.pings.rtt
}

// measureEvery is how often to measure the path, while windows depend on it.
const measureEvery = 10 * time.Millisecond

// pathRTT returns the round trip time of the path, without what waiting in queues adds, and has it measured again.
func (s *Session) pathRTT() time.Duration {
	p := &s.pings
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); len(p.waiting) == 0 && now.Sub(p.lastAt) > measureEvery && !p.stopped {
		p.send(now)
	}
	return p.least
}
