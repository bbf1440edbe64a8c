package cases

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/bench/internal/peer"
)

// env is what one measurement runs in. Its goroutines end when it is closed, as all streams are closed then.
type env struct {
	net  peer.Net
	time time.Duration // how long to measure
	stop chan struct{} // closed by close
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	held   []net.Conn
	err    error
}

func newEnv(n peer.Net, t time.Duration) *env {
	return &env{net: n, time: t, stop: make(chan struct{})}
}

func (e *env) close() {
	e.mu.Lock()
	e.closed = true
	held := e.held
	e.held = nil
	e.mu.Unlock()
	close(e.stop)
	for _, c := range held {
		go c.Close() // some peers' Close takes a while; the session's helps it
	}
	e.net.Close()
	e.wg.Wait()
}

// fail keeps the first error of the goroutines. Those after close are its effect.
func (e *env) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil && !e.closed {
		e.err = err
	}
}

// failed returns what fail was told, if anything.
func (e *env) failed() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// hold keeps c until close closes it.
func (e *env) hold(c net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		c.Close()
		return
	}
	e.held = append(e.held, c)
}

// dial opens a stream that stays open.
func (e *env) dial() (net.Conn, error) {
	c, err := e.net.Dial()
	if err == nil {
		e.hold(c)
	}
	return c, err
}

// serve accepts streams at the server's end; f, called on a goroutine for each, closes them. An Accept waits at the
// client's end too, as in a program whose two ends both open streams.
func (e *env) serve(f func(net.Conn)) {
	e.wg.Go(func() { // wg does not get to 0 before the loop has ended
		for {
			c, err := e.net.Accept()
			if err != nil {
				e.fail(err)
				return
			}
			e.wg.Add(1)
			go e.handle(c, f)
		}
	})
	e.wg.Go(func() {
		c, err := e.net.AcceptBack()
		if err == nil {
			err = errors.New("the client's end accepted a stream that nobody has opened")
			c.Close()
		}
		e.fail(err)
	})
}

func (e *env) handle(c net.Conn, f func(net.Conn)) {
	defer e.wg.Done()
	f(c)
	runtime.KeepAlive(c) // smux closes what is unreachable, even while its WriteTo runs
}

// A span is what has gone on in a time.
type span struct {
	n      float64 // how often, or how much
	time   time.Duration
	cpu    time.Duration // of both ends
	allocs float64
}

func (s span) rate() float64 { return s.n / s.time.Seconds() }

// cpuEach is the processor time for one of n, in seconds.
func (s span) cpuEach() float64 { return s.cpu.Seconds() / s.n }

// warmUp lets things that count go on for a while, so that what is measured is a steady state.
func (e *env) warmUp(count *atomic.Int64) error {
	if err := e.moved(count, 0); err != nil {
		return err
	}
	time.Sleep(e.time / 3)
	return e.failed()
}

// watch returns how count moves in the time t, or longer if it does not move in that.
func (e *env) watch(count *atomic.Int64, t time.Duration) (span, error) {
	m := begin(count)
	time.Sleep(t)
	if err := e.moved(count, m.n); err != nil {
		return span{}, err
	}
	return m.end(count), e.failed()
}

// steady is warmUp and watch for the environment's time.
func (e *env) steady(count *atomic.Int64) (span, error) {
	if err := e.warmUp(count); err != nil {
		return span{}, err
	}
	return e.watch(count, e.time)
}

// moved waits until count is more than n.
func (e *env) moved(count *atomic.Int64, n int64) error {
	for end := time.Now().Add(patience); count.Load() <= n; time.Sleep(time.Millisecond) {
		if err := e.failed(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return stalled{"nothing moved for " + patience.String()}
		}
	}
	return nil
}

// patience is how long something may stand still before it has stalled.
const patience = 5 * time.Second

// mark is where a span begins.
type mark struct {
	n      int64
	time   time.Time
	cpu    time.Duration
	allocs uint64
}

func begin(count *atomic.Int64) mark {
	allocs, cpu := mallocs(), cpuTime()
	return mark{count.Load(), time.Now(), cpu, allocs}
}

func (m mark) end(count *atomic.Int64) span {
	n, t, cpu := count.Load(), time.Since(m.time), cpuTime()
	return span{float64(n - m.n), t, cpu - m.cpu, float64(mallocs() - m.allocs)}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
