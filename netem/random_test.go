package netem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
	"github.com/virtnet/virtnet/pipenet"
)

// TestRandom has connections send in both directions while rules, holds, cuts and partitions come and go at random.
// Whatever they are, every byte arrives, once and in order, and then the end.
func TestRandom(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 30
	}
	netemtest.Run(t, seeds, random)
}

func random(t *testing.T, em *netem.Net) {
	seed := em.Seed()
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := &world{T: t, em: em, ctx: t.Context()}
	w.net = pipenet.Config{Emulator: w.em, Buffer: []int{0, 0, 1, 1000, -1}[rnd.IntN(5)]}.New("test")
	defer w.net.Close()
	hosts := []string{"α", "β", "γ"}

	var work sync.WaitGroup
	for range 1 + rnd.IntN(4) {
		c, d := w.pair(hosts[rnd.IntN(3)], hosts[rnd.IntN(3)])
		for _, x := range [][2]net.Conn{{c, d}, {d, c}} {
			total := rnd.IntN(200_000)
			wr, rd := rand.New(rand.NewPCG(seed, rnd.Uint64())), rand.New(rand.NewPCG(seed, rnd.Uint64()))
			work.Go(func() { sendAll(t, wr, x[0], total) })
			work.Go(func() { recvAll(t, rd, x[1], total) })
		}
	}
	stop := make(chan struct{})
	chaos := make(chan struct{})
	go func() {
		defer close(chaos)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.IntN(int(300 * ms)))):
				meddle(w, rnd, hosts)
			}
		}
	}()
	go func() { // the last word is peace
		time.Sleep(20 * time.Second)
		close(stop)
		<-chaos
		w.em.Heal()
		for _, a := range hosts {
			for _, b := range hosts {
				w.em.Link(a, b).Clear()
			}
		}
	}()
	work.Wait()
	<-chaos
	for _, a := range hosts {
		for _, b := range hosts {
			if s := w.em.Link(a, b).State(); s.Bytes != 0 || s.Segments != 0 {
				t.Errorf("in the end there are %+v from %s to %s", s, a, b)
			}
		}
	}
}

// meddle does one random thing to a random link.
func meddle(w *world, rnd *rand.Rand, hosts []string) {
	i := rnd.IntN(3)
	l := w.em.Link(hosts[i], hosts[rnd.IntN(3)])
	switch rnd.IntN(9) {
	case 0, 1:
		if err := l.Set(randomRules(rnd)); err != nil {
			w.Error(err)
		}
	case 2:
		l.Hold()
	case 3:
		l.Release()
	case 4:
		for range rnd.IntN(10) {
			l.Step()
		}
	case 5:
		l.Clear()
	case 6:
		w.em.Isolate(hosts[i])
	case 7:
		w.em.Heal()
	case 8:
		_ = w.em.SetAll(randomRules(rnd))
	}
}

func randomRules(rnd *rand.Rand) netem.Rules {
	some := func(n int) int { // 0 half of the time
		if rnd.IntN(2) == 0 {
			return 0
		}
		return 1 + rnd.IntN(n)
	}
	return netem.Rules{
		Latency: []netem.Delay{{}, netem.Constant(5 * ms), netem.Uniform(0, 50*ms), netem.Normal(20*ms, 10*ms),
			netem.Exponential(10 * ms), netem.Pareto(ms, 1.5)}[rnd.IntN(6)],
		Correlation: float64(some(9)) / 10,
		Bandwidth:   int64(some(1 << 20)),
		Window:      some(50_000),
		Loss:        float64(some(5)) / 10,
		Slice:       some(3000),
		CloseDelay:  time.Duration(some(int(time.Second))),
	}
}

// sendAll writes total bytes that tell where they belong, and then the end. Deadlines interrupt it, and it goes on where
// they did.
func sendAll(t *testing.T, rnd *rand.Rand, c net.Conn, total int) {
	buf := make([]byte, 20_000)
	for at := 0; at < total; {
		p := buf[:min(1+rnd.IntN(len(buf)), total-at)]
		for i := range p {
			p[i] = place(at + i)
		}
		if rnd.IntN(8) == 0 {
			_ = c.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(int(10 * ms)))))
		}
		n, err := c.Write(p)
		clear(p) // it is ours again
		at += n
		switch {
		case isTimeout(err):
			_ = c.SetWriteDeadline(time.Time{})
		case err != nil:
			t.Errorf("Write at %d of %d: %v", at, total, err)
			return
		}
		if rnd.IntN(4) == 0 {
			time.Sleep(time.Duration(rnd.IntN(int(100 * ms))))
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}

// recvAll reads what sendAll writes.
func recvAll(t *testing.T, rnd *rand.Rand, c net.Conn, total int) {
	buf := make([]byte, 30_000)
	for at := 0; ; {
		n, err := c.Read(buf[:1+rnd.IntN(len(buf))])
		for i, b := range buf[:n] {
			if b != place(at+i) {
				t.Errorf("byte %d is wrong", at+i)
				return
			}
		}
		at += n
		if err != nil {
			if err != io.EOF || at != total {
				t.Errorf("read %d bytes, then %v, want %d and EOF", at, err, total)
			}
			return
		}
		if rnd.IntN(10) == 0 {
			time.Sleep(time.Duration(rnd.IntN(int(20 * ms))))
		}
	}
}

// place returns the byte for a position.
func place(at int) byte { return byte(at ^ at>>8*7 ^ at>>16*13) }

// Connections that are made and closed, at random, while hosts crash: the program sees errors it knows, and in the end
// there is nothing left.
func TestRandomCrashes(t *testing.T) {
	netemtest.Run(t, 20, func(t *testing.T, em *netem.Net) {
		seed := em.Seed()
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := pipenet.Config{Emulator: em}.New("test")
		if err := em.SetAll(netem.Rules{Latency: netem.Exponential(10 * ms), Loss: 0.05}); err != nil {
			t.Fatal(err)
		}
		var hosts sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 4 {
			rnd := rand.New(rand.NewPCG(seed, rnd.Uint64()))
			hosts.Go(func() { clientHost(ctx, t, n, fmt.Sprint("h", i), rnd) })
		}
		for range 100 {
			time.Sleep(time.Duration(rnd.IntN(int(100 * ms))))
			h := n.Host(fmt.Sprint("h", rnd.IntN(4)))
			if rnd.IntN(3) == 0 {
				_ = em.Vanish(h)
			} else {
				_ = em.Crash(h)
			}
		}
		cancel()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		hosts.Wait()
		for i := range 4 {
			for j := range 4 {
				if s := em.Link(fmt.Sprint("h", i), fmt.Sprint("h", j)).State(); s != (netem.State{}) {
					t.Errorf("h%d to h%d: %+v are left", i, j, s)
				}
			}
		}
	})
}

// clientHost is a host that starts again whenever it has crashed: it listens, echoes, and talks to others.
func clientHost(ctx context.Context, t *testing.T, n *pipenet.Network, name string, rnd *rand.Rand) {
	for ctx.Err() == nil {
		h := n.Host(name)
		l, err := h.Listen(ctx, ":1")
		if err == nil {
			go func() {
				for {
					c, err := l.Accept(ctx)
					if err != nil {
						return
					}
					go func() {
						_ = c.SetDeadline(time.Now().Add(time.Second))
						_, _ = io.Copy(c, c)
						_ = c.Close()
					}()
				}
			}()
		}
		for ctx.Err() == nil {
			time.Sleep(time.Duration(1 + rnd.IntN(int(20*ms))))
			if err := talk(ctx, h.Dial, fmt.Sprintf("h%d:1", rnd.IntN(4))); err != nil && errors.Is(err, errWrong) {
				t.Error(err)
			}
			if _, err := h.Listen(ctx, ":9"); errors.Is(err, net.ErrClosed) {
				break // crashed
			} else if err == nil {
				continue
			}
		}
	}
}

var errWrong = errors.New("wrong answer")

func talk(ctx context.Context, dial func(context.Context, string) (net.Conn, error), addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err == nil && string(buf) != "hello" {
		return fmt.Errorf("%w: %q", errWrong, buf)
	}
	return nil
}
