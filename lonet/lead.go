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
// the engine leads, until it has served an Accept.
type leadership struct {
	serving *sync.WaitGroup // the engine's; a leader counts, whoever's goroutine it is

	mu     sync.Mutex
	taken  bool // there is a leader
	armed  bool // the timer runs
	timer  *time.Timer
	closed bool

	failing bool // accepting fails; the leader's alone

	hurry overdue     // the handshake of the leader
	slow  atomic.Bool // the last request did not come right behind its connection
}

const (
	// vacancyAfter is how long there may be no leader.
	vacancyAfter = 200 * time.Microsecond
	// hurryAfter is how long a leader waits for a request: one that comes right behind its connection is there
	// sooner.
	hurryAfter = time.Millisecond
	// acceptBackoff is how long the leader waits when the system has no descriptor or memory for a connection.
	// Established ones go on; those that wait in the socket's queue are accepted once there is.
	acceptBackoff = 20 * time.Millisecond
)

func (l *leadership) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
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

// vacant is called when the timer fires. It is true if there is nobody, whose leadership the caller then takes.
func (l *leadership) vacant() bool {
	l.mu.Lock()
	l.armed = false
	l.mu.Unlock()
	return l.take()
}

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
	if !e.lead.vacant() {
		return
	}
	for e.life.Err() == nil {
		if e.acceptOne() {
			break
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

// acceptOne accepts a connection and serves it. It tells whether an Accept has got it.
func (e *engine) acceptOne() bool {
	conn, err := e.osl.AcceptTCP()
	switch {
	case err == nil:
		if e.lead.failing {
			e.lead.failing = false
			e.log.Warn("lonet: accept works again", "network", e.network)
		}
		return e.serveConn(conn)
	case errors.Is(err, os.ErrDeadlineExceeded): // VNetRecall
		_ = e.osl.SetDeadline(time.Time{})
	case errors.Is(err, net.ErrClosed):
		if e.life.Err() == nil {
			e.kill()
			e.notifier.VNetDown(err)
		}
	default:
		if !e.lead.failing {
			e.lead.failing = true
			e.log.Warn("lonet: accept", "network", e.network, "err", err)
		}
		select {
		case <-e.life.Done():
		case <-time.After(acceptBackoff):
		}
	}
	return false
}
