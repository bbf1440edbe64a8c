package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// end is the reading or the writing end of a half. The half's lock guards it.
type end struct {
	state   state
	expired bool   // the deadline has passed
	busy    bool   // own is in use
	timer   *timer // nil until a deadline is set, and when closed
	waiting queue
	own     waiter // for the first that waits, most often the only one
}

// state is how far an end has come. It only grows.
type state uint8

const (
	open   state = iota // a reading end stays open when the peer stops writing: it reads what is left, then io.EOF
	shut                // half closed, here or by the peer: Read gives io.EOF, Write "broken pipe"
	reset               // reset by the peer
	closed              // the connection is closed on this end
)

// err is why operations on the end fail, or nil. atShut is the error of a half close.
func (e *end) err(atShut error) error {
	switch {
	case e.state == closed:
		return net.ErrClosed
	case e.expired:
		return os.ErrDeadlineExceeded
	case e.state == reset:
		return errReset
	case e.state == shut:
		return atShut
	}
	return nil
}

func (e *end) readErr() error  { return e.err(io.EOF) }
func (e *end) writeErr() error { return e.err(errPipe) }

// enqueue returns a waiter for p, which stands in the queue. mu is the half's lock.
func (e *end) enqueue(p []byte, mu *sync.Mutex) *waiter {
	w := &e.own
	if e.busy {
		w = new(waiter)
	}
	e.busy = true
	w.buf, w.cond.L = p, mu
	e.waiting.push(w)
	return w
}

// result returns what the waiter that was enqueued for p has come to. The waiter is not used after it.
func (e *end) result(w *waiter, p []byte) (int, error) {
	n, err := len(p)-len(w.buf), w.err
	if w == &e.own {
		w.buf, w.err, e.busy = nil, nil, false
	}
	return n, err
}

// timer is what an end has for its deadline. It is made once and set anew for each deadline.
type timer struct {
	*time.Timer
	at time.Time // the deadline; zero is none
}

// stop forgets the deadline.
func (t *timer) stop() {
	if t != nil {
		t.Stop()
		t.at = time.Time{}
	}
}
