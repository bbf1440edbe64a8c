package netem_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// TestStress does everything at once in real time, for the race detector: rules, holds, steps, resets, crashes and partitions on
// two networks that share a Net, while hosts dial, talk, close and start again. What arrives is always the beginning of
// what was sent, and all of it if the end arrives; errors are those that are documented; nothing is left.
func TestStress(t *testing.T) {
	length := 5 * time.Second
	if testing.Short() {
		length = time.Second
	}
	before := runtime.NumGoroutine()
	s := &stress{T: t, em: netem.New(1)}
	s.nets = []*pipenet.Network{
		pipenet.Config{Emulator: s.em, Buffer: -1}.New("one"), pipenet.Config{Emulator: s.em}.New("two"),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var hosts, chaos sync.WaitGroup
	for i, n := range s.nets {
		for j, name := range stressed {
			hosts.Go(func() { s.host(ctx, n, name, rand.New(rand.NewPCG(uint64(i), uint64(j)))) })
		}
	}
	end := time.Now().Add(length)
	for i := range 3 {
		chaos.Go(func() {
			for rnd := rand.New(rand.NewPCG(9, uint64(i))); time.Now().Before(end); {
				s.meddle(rnd)
				time.Sleep(time.Duration(rnd.IntN(int(2 * ms))))
			}
		})
	}
	chaos.Wait()
	s.peace(ctx)
	cancel()
	for _, n := range s.nets {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	hosts.Wait()
	t.Logf("%d dials, %d streams with their ends", s.dials.Load(), s.ends.Load())
	if s.ends.Load() == 0 {
		t.Error("no stream has come to its end")
	}
	for _, l := range s.links() {
		if got := l.State(); got != (netem.State{}) {
			t.Errorf("%s to %s: %+v are left", l.From(), l.To(), got)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(ms) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

type sentStream struct {
	bytes atomic.Int64
	over  chan struct{} // closed when bytes stays what it is
}

var stressed = []string{"a", "b", "c"}

type stress struct {
	*testing.T
	em          *netem.Net
	nets        []*pipenet.Network
	streams     sync.Map // of *sentStream, by the stream's number, which it begins with
	dials, ends atomic.Int64
}

func (s *stress) links() (all []*netem.Link) {
	for _, a := range stressed {
		for _, b := range stressed {
			all = append(all, s.em.Link(a, b))
		}
	}
	return all
}

// meddle does something at random.
func (s *stress) meddle(rnd *rand.Rand) {
	links := s.links()
	l := links[rnd.IntN(len(links))]
	h := s.nets[rnd.IntN(len(s.nets))].Host(l.From())
	rules := randomRules(rnd)
	switch rnd.IntN(16) {
	case 0, 1, 2:
		if err := l.Set(rules); err != nil {
			s.Error(err)
		}
	case 3:
		rules.ResetAfter, rules.ResetBytes = time.Duration(rnd.IntN(int(50*ms))), rnd.Int64N(100_000)
		_ = l.Set(rules)
	case 4:
		_ = s.em.SetAll(rules)
	case 5:
		l.Hold()
	case 6:
		l.Cut()
	case 7, 8:
		for range rnd.IntN(20) {
			l.Step()
		}
	case 9:
		l.Reset()
	case 10:
		l.Sever()
	case 11:
		p := s.em.Isolate(l.From())
		time.Sleep(time.Duration(rnd.IntN(int(5 * ms))))
		p.Heal()
	case 12:
		_ = s.em.Crash(h)
	case 13:
		_ = s.em.Vanish(h)
	case 14:
		s.em.Heal()
	case 15:
		l.Clear()
	}
}

// peace takes everything back, and wants that connections are as they should be.
func (s *stress) peace(ctx context.Context) {
	s.em.Heal()
	_ = s.em.SetAll(netem.Rules{})
	for _, l := range s.links() {
		l.Clear()
	}
	ends := s.ends.Load()
	for deadline := time.Now().Add(20 * time.Second); s.ends.Load() < ends+100; time.Sleep(ms) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			s.Errorf("%d streams have come to their end since all faults are gone, want 100", s.ends.Load()-ends)
			return
		}
	}
}

// host is a host that talks to all others, and starts again when it has crashed.
func (s *stress) host(ctx context.Context, n *pipenet.Network, name string, rnd *rand.Rand) {
	var work sync.WaitGroup
	defer work.Wait()
	for ctx.Err() == nil {
		h := n.Host(name)
		l, err := h.Listen(ctx, ":1")
		if err != nil {
			continue
		}
		down := make(chan struct{})
		work.Go(func() {
			defer close(down)
			for {
				c, err := l.Accept(ctx)
				if err != nil {
					return
				}
				seed := rand.Uint64()
				work.Go(func() { s.talk(c, rand.New(rand.NewPCG(seed, 0))) })
			}
		})
		for up := true; up; {
			seed := rnd.Uint64()
			work.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 20*ms)
				defer cancel()
				c, err := h.Dial(ctx, stressed[seed%3]+":1")
				s.known(err, virtnet.ErrConnRefused, virtnet.ErrNoHost, context.DeadlineExceeded, context.Canceled)
				if err == nil {
					s.dials.Add(1)
					s.talk(c, rand.New(rand.NewPCG(seed, 0)))
				}
			})
			select {
			case <-down:
				up = false
			case <-time.After(ms):
			}
		}
	}
}

// known wants that an error is one of these, or that something is down, in a *net.OpError.
func (s *stress) known(err error, want ...error) {
	if err == nil || err == io.EOF {
		return
	}
	if oe, ok := err.(*net.OpError); !ok || oe.Addr == nil {
		s.Errorf("%v is %T, want a *net.OpError with an address", err, err)
	}
	for _, w := range append(want, virtnet.ErrSockDown, virtnet.ErrHostDown, virtnet.ErrNetDown) {
		if errors.Is(err, w) {
			return
		}
	}
	s.Errorf("an error that is not documented: %v", err)
}

var streamNumbers atomic.Uint64

// talk sends a stream and receives one. It gives up after a while, at the latest.
func (s *stress) talk(c net.Conn, rnd *rand.Rand) {
	total := rnd.IntN(50_000)
	late := time.AfterFunc(time.Duration(rnd.IntN(int(time.Second))), func() { c.Close() })
	defer late.Stop()
	var work sync.WaitGroup
	work.Go(func() { s.receive(c) })
	s.send(c, rnd, total)
	work.Wait()
	c.Close()
}

func (s *stress) send(c net.Conn, rnd *rand.Rand, total int) {
	number := streamNumbers.Add(1)
	sent := &sentStream{over: make(chan struct{})}
	defer close(sent.over)
	s.streams.Store(number, sent)
	stream := binary.BigEndian.AppendUint64(nil, number)
	for i := range total {
		stream = append(stream, place(i+int(number)))
	}
	for len(stream) > 0 {
		k := min(1+rnd.IntN(10_000), len(stream))
		sent.bytes.Add(int64(k)) // before they can arrive
		n, err := c.Write(stream[:k])
		sent.bytes.Add(int64(n - k))
		if stream = stream[n:]; err != nil {
			s.known(err, syscall.EPIPE, io.ErrClosedPipe, syscall.ECONNRESET)
			return
		}
	}
	s.known(c.(interface{ CloseWrite() error }).CloseWrite(), syscall.EPIPE, io.ErrClosedPipe, syscall.ECONNRESET)
}

func (s *stress) receive(c net.Conn) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			s.known(err, syscall.ECONNRESET)
		}
		return
	}
	number := binary.BigEndian.Uint64(head)
	v, ok := s.streams.Load(number)
	if !ok {
		s.Errorf("there is no stream %d", number)
		return
	}
	sent := v.(*sentStream)
	buf := make([]byte, 5000)
	for at := 0; ; {
		n, err := c.Read(buf)
		for i, b := range buf[:n] {
			if b != place(at+i+int(number)) {
				s.Errorf("stream %d: byte %d is wrong", number, at+i)
				return
			}
		}
		at += n
		if err == io.EOF {
			<-sent.over
		}
		if got, most := int64(at+8), sent.bytes.Load(); got > most || err == io.EOF && got < most {
			s.Errorf("stream %d, %v to %v: %d bytes and %v, %d were sent", number, c.RemoteAddr(), c.LocalAddr(), got, err, most)
		}
		if err != nil {
			s.known(err, syscall.ECONNRESET)
			if err == io.EOF {
				s.ends.Add(1)
			}
			return
		}
	}
}
