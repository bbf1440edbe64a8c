package mux

import (
	"sync/atomic"
	"time"
)

const (
	// ackMost is after how many bytes received an acknowledgement is due, at most: what is kept for longer falls out of
	// the sender's cache.
	ackMost = 128 << 10
	// ackDelay is how long one for less waits for more: the other end keeps little for it, and a timer that is due soon makes each
	// wait of the process for the network dearer.
	ackDelay = 100 * time.Millisecond
)

// Acks acknowledge what comes, if the other end keeps what it sends. The bytes of acknowledgements alone are
// not acknowledged, or that would never end.
type acks struct {
	w *writer

	received atomic.Uint64 // bytes from the beginning of the session, across carriers
	ofAcks   atomic.Uint64 // how many of these were of acknowledgements
	told     atomic.Uint64 // how many have been acknowledged
	owing    atomic.Uint64 // received-ofAcks beyond this deserve an acknowledgement
	every    atomic.Uint64 // after how many bytes; 0 while the keys are not there
	timerSet atomic.Bool
	timer    *time.Timer // the reader's
}

// add counts bytes that have come. Who reads the carrier calls it.
func (a *acks) add(n int) {
	received := a.received.Add(uint64(n))
	if every := a.every.Load(); every > 0 && received-a.told.Load() >= every {
		a.send()
	}
}

// soon sees to it that what has come is acknowledged, even if no more comes. It is called before the carrier is read.
func (a *acks) soon() {
	if a.every.Load() == 0 || a.timerSet.Load() || !a.owes() {
		return
	}
	a.timerSet.Store(true)
	if a.timer == nil {
		a.timer = time.AfterFunc(ackDelay, a.late)
	} else {
		a.timer.Reset(ackDelay)
	}
}

func (a *acks) owes() bool {
	return int64(a.received.Load()-a.ofAcks.Load()-a.owing.Load()) > 0
}

func (a *acks) late() {
	a.timerSet.Store(false)
	if a.owes() {
		a.send()
	}
}

// send acknowledges all that has come.
func (a *acks) send() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	received := a.received.Load()
	a.told.Store(received)
	a.owing.Store(received - a.ofAcks.Load())
	if !a.w.shut() {
		a.w.queue = appendPlain(a.w.queue, kindAck, received)
		a.w.answer(kindAck, headerSize)
		a.w.kick()
	}
}

// got is called when an acknowledgement has come.
func (a *acks) got() { a.ofAcks.Add(headerSize) }
