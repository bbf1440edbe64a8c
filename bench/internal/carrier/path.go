package carrier

import (
	"net"
	"sync"
	"time"
)

// A Shape is what a path does to bytes, the same in both directions.
type Shape struct {
	Rate  float64       // bytes a second
	Delay time.Duration // of one direction: half the round trip
}

// LongPath is a good line across an ocean: 1 Gbit/s, 100 ms there and back.
var LongPath = Shape{Rate: 125e6, Delay: 50 * time.Millisecond}

const (
	// A parcel is what is sent on at once: small beside what is under way.
	parcel = 64 << 10
	// inFlight is how many parcels the path holds: several times LongPath's bandwidth times its delay, so that it is
	// never what limits. When it is full the sender waits, as nothing is ever lost here.
	inFlight = 4096
	// slack is how much of the time in which nothing went through is made up for: more than what timers and a busy
	// machine are late, which a line would not be.
	slack = 10 * time.Millisecond
)

// path relays connections between its ends, late and no faster than its rate.
type path struct {
	far      Carrier
	front    tcp
	up, down link

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
	wg     sync.WaitGroup
}

func newPath(far Carrier, s Shape) (Carrier, error) {
	front, err := listenTCP()
	if err != nil {
		far.Close()
		return nil, err
	}
	p := &path{far: far, front: front, up: link{shape: s}, down: link{shape: s}}
	p.wg.Go(p.serve)
	return p, nil
}

func (p *path) Dial() (net.Conn, error)   { return p.front.Dial() }
func (p *path) Accept() (net.Conn, error) { return p.far.Accept() }

// Close ends the path, with all that goes through it.
func (p *path) Close() error {
	p.front.Close()
	err := p.far.Close()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (p *path) serve() {
	for {
		near, err := p.front.Accept()
		if err != nil {
			return
		}
		far, err := p.far.Dial()
		if err != nil {
			near.Close()
			continue
		}
		p.relay(near.(*net.TCPConn), far.(*net.TCPConn))
	}
}

func (p *path) relay(near, far *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		near.Close()
		far.Close()
		return
	}
	p.conns = append(p.conns, near, far)
	p.up.carry(&p.wg, far, near)
	p.down.carry(&p.wg, near, far)
}

// A link is one direction of a path. What goes through it at once shares its rate.
type link struct {
	shape Shape

	mu   sync.Mutex
	free time.Time // when all that was let in has left the bottleneck
}

// enter lets n bytes in, and returns when the last of them leaves the bottleneck, at whose exit the delay begins.
func (l *link) enter(now time.Time, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if idle := now.Add(-slack); l.free.Before(idle) {
		l.free = idle
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.shape.Rate * float64(time.Second)))
	if l.free.Before(now) { // the delay is never shorter for it
		return now
	}
	return l.free
}

type late struct {
	data []byte
	due  time.Time
}

// carry copies from src to dst on two goroutines. The kernel's buffers before src are the bottleneck's queue: they are
// left as they are.
func (l *link) carry(wg *sync.WaitGroup, dst, src *net.TCPConn) {
	way := make(chan late, inFlight)
	wg.Go(func() {
		defer close(way)
		buf := make([]byte, parcel)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				left := l.enter(time.Now(), n)
				way <- late{append([]byte(nil), buf[:n]...), left.Add(l.shape.Delay)}
				time.Sleep(time.Until(left))
			}
			if err != nil {
				return
			}
		}
	})
	wg.Go(func() {
		defer dst.CloseWrite()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := dst.Write(p.data); err != nil {
				src.Close() // ends the other goroutine
				for range way {
				}
				return
			}
		}
	})
}
