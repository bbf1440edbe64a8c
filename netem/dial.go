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
	since time.Time
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

func (m *member) DialOut(ctx context.Context, src, dst *virtnet.Addr) (uint64, error) {
	if m.net.vanished.Load() {
		m.net.abandonedBy(src, nil) // the port is a new connection's
	}
	if !m.net.shaping.Load() {
		return 0, nil
	}
	l := m.net.Link(src.Host, dst.Host)
	number, d, fault := l.dial(source{src.Net, src.Port})
	switch fault {
	case DialDiscard:
		<-ctx.Done()
		return 0, ctx.Err()
	case DialRefuse:
		return 0, l.refuse(ctx, number, d)
	}
	return number, l.passage(ctx, d)
}

func (m *member) DialBack(ctx context.Context, src, dst *virtnet.Addr, number uint64, dialErr error) error {
	if !m.net.shaping.Load() || ctx.Err() != nil {
		return nil
	}
	l := m.net.Link(dst.Host, src.Host)
	return l.passage(ctx, l.answer(number))
}

// synRetry is how long a dial waits for an answer before it asks again, at first.
const synRetry = time.Second

// NoHost is what becomes of a dial to a host that is not there: of one that has crashed it is refused, and if the host has
// vanished nobody answers until it is there again.
func (m *member) NoHost(ctx context.Context, src, dst *virtnet.Addr, err error) error {
	n := m.net
	n.mu.Lock()
	how := n.crashed[station{dst.Net, dst.Host}]
	n.mu.Unlock()
	switch how {
	case crashReset:
		return m.refuse(ctx, src, dst)
	case crashSilent:
		for wait := synRetry; ; wait = min(2*wait, 32*synRetry) {
			if err := sleep(ctx, wait); err != nil {
				return err
			}
			if n.up(dst.Net, dst.Host) {
				return nil
			}
		}
	}
	return err
}

// refuse is a dial that comes to where nobody listens.
func (m *member) refuse(ctx context.Context, src, dst *virtnet.Addr) error {
	l := m.net.Link(src.Host, dst.Host)
	number, d, _ := l.dial(source{src.Net, src.Port})
	return l.refuse(ctx, number, d)
}

// refuse has a dial fail, after it has come there and the answer back.
func (l *Link) refuse(ctx context.Context, number uint64, d time.Duration) error {
	if err := l.passage(ctx, d); err != nil {
		return err
	}
	back := l.net.Link(l.to, l.from)
	if err := back.passage(ctx, back.answer(number)); err != nil {
		return err
	}
	return virtnet.ErrConnRefused
}

// dial takes note of a dial from a port. It returns the dial's number, how long it takes on this way, and what happens to it.
func (l *Link) dial(from source) (number uint64, _ time.Duration, _ DialFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault := l.rules.Dial
	if fault != DialPass {
		if n := l.rules.DialFirst; n > 0 && l.dialFaults >= n {
			fault = DialPass
		}
		l.dialFaults++
	}
	number = l.handshakes
	l.handshakes++
	if l.dialled == nil {
		l.dialled = make(map[source]uint64)
	}
	l.dialled[from] = number
	return number, l.handshake(dialler, number), fault
}

// dialFrom returns the number of the last dial from a port, if there were rules then.
func (l *Link) dialFrom(from source) (number uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, ok = l.dialled[from]
	return number, ok
}

// answer returns how long the answer to a dial takes on this way. It has the dial's number, because dials that were held
// are answered in no order.
func (l *Link) answer(number uint64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handshake(accepter, number)
}

// handshake draws the time of a segment that belongs to a dial. It is called with mu held.
func (l *Link) handshake(r role, number uint64) time.Duration {
	s := l.rand.sub(^uint64(0)).sub(forDial).sub(2*number + uint64(r))
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
	if l.passes() {
		l.mu.Unlock()
		return nil
	}
	w := &queue.Item[waitingDial]{Value: waitingDial{time.Now(), make(chan struct{})}}
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
