package netem

import (
	"context"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/queue"
)

// dialQueue has the dials that wait until a link is open, or for a step. The link's lock guards it.
type dialQueue struct{ queue.Queue[waitingDial] }

type waitingDial struct {
	order uint64
	pass  chan struct{} // closed when it may pass
}

func (q *dialQueue) passAll() {
	for q.passFirst() {
	}
}

// passFirst lets the first one pass, if there is one.
func (q *dialQueue) passFirst() bool {
	it := q.Pop()
	if it == nil {
		return false
	}
	close(it.Value.pass)
	return true
}

func (m *member) DialOut(ctx context.Context, src, dst *virtnet.Addr) error {
	if !m.net.shaping.Load() {
		return nil
	}
	l := m.net.Link(src.Host, dst.Host)
	d, fault := l.dial()
	switch fault {
	case DialDiscard:
		<-ctx.Done()
		return ctx.Err()
	case DialRefuse:
		if err := l.passage(ctx, d); err != nil {
			return err
		}
		back := m.net.Link(dst.Host, src.Host)
		if err := back.passage(ctx, back.answer()); err != nil {
			return err
		}
		return virtnet.ErrConnRefused
	}
	return l.passage(ctx, d)
}

func (m *member) DialBack(ctx context.Context, src, dst *virtnet.Addr, dialErr error) error {
	if !m.net.shaping.Load() || ctx.Err() != nil {
		return nil
	}
	l := m.net.Link(dst.Host, src.Host)
	return l.passage(ctx, l.answer())
}

// dial returns how long the next dial takes on this way, and what happens to it.
func (l *Link) dial() (time.Duration, DialFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault := l.rules.Dial
	if fault != DialPass {
		if n := l.rules.DialFirst; n > 0 && l.dialFaults >= n {
			fault = DialPass
		}
		l.dialFaults++
	}
	return l.handshake(dialler), fault
}

// answer returns how long the answer to a dial takes on this way.
func (l *Link) answer() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handshake(accepter)
}

// handshake draws the time of a segment that belongs to a dial. It is called with mu held.
func (l *Link) handshake(r role) time.Duration {
	s := l.rand.sub(^uint64(0)).sub(forDial).sub(2*l.handshakes[r] + uint64(r))
	l.handshakes[r]++
	return l.rules.Latency.at(s.uniform(0)) + stall(l.rules, s.sub(forLoss))
}

// passage waits for d, and then until the link is open.
func (l *Link) passage(ctx context.Context, d time.Duration) error {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	if l.open() {
		l.mu.Unlock()
		return nil
	}
	l.order++
	w := &queue.Item[waitingDial]{Value: waitingDial{l.order, make(chan struct{})}}
	l.dials.Push(w)
	l.mu.Unlock()
	select {
	case <-w.Value.pass:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.In() == nil {
		return nil // a result beats a cancellation
	}
	w.Leave()
	return ctx.Err()
}
