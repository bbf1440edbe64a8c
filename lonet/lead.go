package lonet

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// leadership decides who accepts connections and shakes hands on them. One goroutine does at a time, the leader:
// best one that waits in Accept, for what it takes is most often for itself. One that has got its connection
// leaves, and comes back a moment later with its next Accept. If nobody has come back after a while, a goroutine of
// the engine leads, until it has served an Accept, or several where those who are served have not come back lately.
type leadership struct {
	serving *sync.WaitGroup // the engine's; a leader counts, whoever's goroutine it is

	mu     sync.Mutex
	taken  bool // there is a leader
	armed  bool // the timer runs
	timer  *time.Timer
	closed bool
	reign  int // how many Accepts the engine served when it led last; 0 if an Accept has led since

	fault fault // of accepting; the leader's alone

	hurry overdue     // the handshake of the leader
	slow  atomic.Bool // the last request did not come right behind its connection
}

const (
	// vacancyAfter is how long there may be no leader. Where nothing else goes on, timers are late by a millisecond.
	vacancyAfter = 200 * time.Microsecond
	// longestReign bounds how long the engine leads on though there may be Accepts again that could.
	longestReign = 63
	// hurryAfter is how long a leader waits for a request: one that comes right behind its connection is there
	// sooner.
	hurryAfter = time.Millisecond
	// acceptBackoff is how long the leader waits when the system has no descriptor or memory for a connection.
	// Established ones go on; those that wait in the socket's queue are accepted once there is.
	acceptBackoff = 20 * time.Millisecond
	// dropBackoff is how long it waits if it could drop a stranger, whose descriptor is free in a moment.
	dropBackoff = time.Millisecond
)

// take makes an Accept the leader, if there is none.
func (l *leadership) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.takeLocked() {
		return false
	}
	l.reign = 0
	return true
}

func (l *leadership) takeLocked() bool {
	if l.taken || l.closed {
		return false
	}
	l.taken = true
	l.serving.Add(1)
	return true
}

// leave ends the leadership. takeOver is called if nobody takes it.
func (l *leadership) leave(takeOver func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = false
	defer l.serving.Done()
	if l.armed || l.closed {
		return
	}
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(vacancyAfter, takeOver)
	} else {
		l.timer.Reset(vacancyAfter)
	}
}

// vacant is called when the timer fires. If there is nobody, it makes the engine the leader, and returns how many
// Accepts that is to serve; otherwise 0. When servers are slow to come back, many dials at once to many of them must not
// each wait for the timer: so the reigns of the engine grow as long as no Accept leads between them.
func (l *leadership) vacant() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if !l.takeLocked() {
		return 0
	}
	l.reign = min(2*l.reign+1, longestReign)
	return l.reign
}

// close ends leadership for ever, once the leader leaves.
func (l *leadership) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// takeOver leads on a goroutine of the engine, if nobody does.
func (e *engine) takeOver() {
	reign := e.lead.vacant()
	if reign == 0 {
		return
	}
	for reign > 0 && e.life.Err() == nil {
		if e.acceptOne() {
			reign--
		}
	}
	e.lead.leave(e.takeOver)
}

// VNetLead leads on a goroutine that waits in Accept.
func (e *engine) VNetLead(wanted func() bool) {
	if !e.lead.take() {
		return
	}
	for wanted() && e.life.Err() == nil {
		e.acceptOne()
	}
	e.lead.leave(e.takeOver)
}

// VNetRecall lets the leader look again whether it is wanted.
func (e *engine) VNetRecall() { _ = e.osl.SetDeadline(aLongTimeAgo) }

// acceptOne accepts a connection and serves it. It tells whether that has woken an Accept.
func (e *engine) acceptOne() bool {
	conn, err := e.osl.AcceptTCP()
	switch {
	case err == nil:
		if e.lead.fault.over() {
			e.log.Warn("lonet: accept works again", "network", e.network)
		}
		return e.serveConn(conn)
	case errors.Is(err, os.ErrDeadlineExceeded): // VNetRecall
		_ = e.osl.SetDeadline(time.Time{})
	case errors.Is(err, net.ErrClosed):
		if e.life.Err() == nil {
			e.kill()
			e.lead.close()
			e.notifier.VNetDown(err)
		}
	default:
		if e.lead.fault.begins() {
			e.log.Warn("lonet: accept", "network", e.network, "err", err)
		}
		e.makeRoom()
	}
	return false
}

// makeRoom is what the leader does when there is no descriptor for a connection. Strangers in the crowd are the first
// to give theirs.
func (e *engine) makeRoom() {
	wait := acceptBackoff
	if e.halfOpen.drop() {
		wait = dropBackoff
	}
	select {
	case <-e.life.Done():
	case <-time.After(wait):
	}
}
