package cases

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a Net over net.Pipe; what its streams do with bytes is up to the test.
type fake struct {
	accept chan net.Conn
	closed chan struct{}
	wrap   func(net.Conn) net.Conn // of the client's ends

	mu    sync.Mutex
	conns []net.Conn
}

func newFake(wrap func(net.Conn) net.Conn) *fake {
	return &fake{accept: make(chan net.Conn), closed: make(chan struct{}), wrap: wrap}
}

func (f *fake) Dial() (net.Conn, error) {
	a, b := net.Pipe()
	f.mu.Lock()
	f.conns = append(f.conns, a, b)
	f.mu.Unlock()
	select {
	case f.accept <- b:
		return f.wrap(a), nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fake) Accept() (net.Conn, error) {
	select {
	case c := <-f.accept:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fake) AcceptBack() (net.Conn, error) {
	<-f.closed
	return nil, net.ErrClosed
}

// Close ends all streams, as that of a session does.
func (f *fake) Close() {
	close(f.closed)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
}

// stuck is a stream whose Writes go nowhere after so many bytes.
type stuck struct {
	net.Conn
	left int
}

func (s *stuck) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left >= 0 {
		return s.Conn.Write(p)
	}
	<-s.wait()
	return 0, net.ErrClosed
}

// wait returns a channel that is closed when the connection is.
func (s *stuck) wait() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Conn.Read(make([]byte, 1))
	}()
	return done
}

// TestStall checks that a peer which stands still is found out, at once and in the middle of a measurement: time only passes
// here when nothing moves.
func TestStall(t *testing.T) {
	for _, test := range []struct {
		name string
		left int
		run  func(*env) (Values, error)
	}{
		{"tput", 10 * bulkSize, tput(1, readBulk)},
		{"tput at once", 0, tput(1, readBulk)},
		{"tput of many", 10 * bulkSize, tput(5, copyBulk)},
		{"ping", 10 * pingSize, ping(1)},
		{"ping at once", 0, ping(1)},
		{"open at once", 0, open(3)},
		{"loaded", 10 * bulkSize, loaded},
		{"ramp at once", 0, ramp(time.Second, time.Second)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(newFake(func(c net.Conn) net.Conn { return &stuck{c, test.left} }), time.Second)
				defer e.close()
				start := time.Now()
				_, err := test.run(e)
				if _, ok := errors.AsType[stalled](err); !ok {
					t.Errorf("got error %v, want one that it has stalled", err)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("it took %v to find out", took)
				}
			})
		})
	}
}

// TestNeverFull checks that isolation wants streams to be full at some time.
func TestNeverFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(newFake(func(c net.Conn) net.Conn { return drain{c} }), time.Second)
		defer e.close()
		_, err := isolation(2)(e)
		if _, ok := errors.AsType[stalled](err); !ok {
			t.Errorf("got error %v, want one that it has stalled", err)
		}
	})
}

// drain is a stream that takes everything after the first byte.
type drain struct{ net.Conn }

func (d drain) Write(p []byte) (int, error) {
	if len(p) == 1 {
		return d.Conn.Write(p)
	}
	time.Sleep(time.Millisecond)
	return len(p), d.SetDeadline(time.Time{}) // fails once it is closed
}

// TestBroken checks that an error on a stream is that of the measurement.
func TestBroken(t *testing.T) {
	broken := errors.New("broken")
	for name, run := range map[string]func(*env) (Values, error){
		"tput":      tput(1, readBulk),
		"ping":      ping(1),
		"open":      open(1),
		"isolation": isolation(1),
		"loaded":    loaded,
		"ramp":      ramp(100*time.Millisecond, 100*time.Millisecond),
		"idle":      idle(10),
		"check":     check(2, 1000),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(newFake(func(c net.Conn) net.Conn { return failing{c, broken} }), 10*time.Millisecond)
			defer e.close()
			if _, err := run(e); !errors.Is(err, broken) {
				t.Errorf("got error %v, want %v", err, broken)
			}
		})
	}
}

type failing struct {
	net.Conn
	err error
}

func (f failing) Write(p []byte) (int, error) { return 0, f.err }

// TestCheckNotices checks that check finds bytes that are not what was sent.
func TestCheckNotices(t *testing.T) {
	for _, test := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"changed", func(c net.Conn) net.Conn { return &damage{Conn: c, n: -1} }},
		{"missing at the end", func(c net.Conn) net.Conn { return &damage{Conn: c, n: 999} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(newFake(test.wrap), time.Millisecond)
			defer e.close()
			if _, err := check(2, 1000)(e); err == nil {
				t.Error("no error")
			}
		})
	}
}

// damage flips a bit of what is read, or ends after n bytes.
type damage struct {
	net.Conn
	n int
}

func (d *damage) Read(p []byte) (int, error) {
	if d.n == 0 {
		return 0, io.EOF
	}
	if d.n > 0 {
		p = p[:min(len(p), d.n)]
	}
	n, err := d.Conn.Read(p)
	if d.n > 0 {
		d.n -= n
	} else if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

// TestSpan checks the arithmetic of a span, and that a mark sees what happens.
func TestSpan(t *testing.T) {
	s := span{n: 1000, time: 2 * time.Second, cpu: time.Second, allocs: 500}
	if got := s.rate(); got != 500 {
		t.Errorf("rate %v, want 500", got)
	}
	if got := s.cpuEach(); got != 0.001 {
		t.Errorf("processor time %v, want 0.001", got)
	}
	var count atomic.Int64
	count.Store(7)
	m := begin(&count)
	for time.Since(m.time) < 50*time.Millisecond {
		sink = append([]byte(nil), make([]byte, 1000)...)
		count.Add(1)
	}
	s = m.end(&count)
	if s.n != float64(count.Load()-7) || s.time < 50*time.Millisecond || s.allocs < s.n {
		t.Errorf("%+v, want %d times, at least 50 ms, as many allocations at least", s, count.Load()-7)
	}
	if s.cpu <= 0 {
		t.Errorf("processor time %v, want more than 0", s.cpu)
	}
}

var sink []byte
