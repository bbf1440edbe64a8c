package netem_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// Connections at rest on a shaped link, each of which has sent something, cost at most 1 KiB more than without, and no
// goroutines.
func TestIdleCost(t *testing.T) {
	const conns = 10_000
	with, goroutines := idle(t, netem.New(1), conns)
	without, _ := idle(t, nil, conns)
	each := (float64(with) - float64(without)) / conns
	t.Logf("a connection costs %.0f bytes more", each)
	if each > 1024 {
		t.Errorf("a connection at rest costs %.0f bytes more, want at most 1024", each)
	}
	if goroutines > 4 {
		t.Errorf("%d goroutines for two links, want at most 4", goroutines)
	}
}

// idle returns what so many connections weigh, in bytes and goroutines.
func idle(t *testing.T, em *netem.Net, conns int) (bytes uint64, goroutines int) {
	cfg := pipenet.Config{Buffer: -1}
	if em != nil {
		cfg.Emulator = em
	}
	n := cfg.New("idle")
	defer n.Close()
	ctx := context.Background()
	l, err := n.Host("β").Listen(ctx, ":1")
	if err != nil {
		t.Fatal(err)
	}
	heap, gos := weigh()
	keep := make([]net.Conn, 0, 2*conns)
	for range conns {
		got := make(chan net.Conn, 1)
		go func() {
			d, err := l.Accept(ctx)
			if err != nil {
				t.Error(err)
			}
			got <- d
		}()
		c, err := n.Host("α").Dial(ctx, "β:1")
		if err != nil {
			t.Fatal(err)
		}
		keep = append(keep, c, <-got)
	}
	buf := make([]byte, 5)
	if em != nil { // not before, because each dial would wait for its latency
		if err := em.SetAll(netem.Rules{Latency: netem.Constant(50 * time.Microsecond), Loss: 0.01, Retransmit: time.Microsecond}); err != nil {
			t.Fatal(err)
		}
	}
	for some := range slices.Chunk(keep, 100) {
		for _, c := range some {
			if _, err := fmt.Fprint(c, "hello"); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range some {
			if n, err := c.Read(buf); n != 5 || err != nil {
				t.Fatalf("Read: %d, %v", n, err)
			}
		}
	}
	var after uint64
	for range 50 { // those that have delivered are about to go
		after, goroutines = weigh()
		if goroutines <= gos {
			break
		}
		time.Sleep(ms)
	}
	runtime.KeepAlive(keep)
	return after - heap, goroutines - gos
}

func weigh() (heap uint64, goroutines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

// A dial with a Net without rules allocates no more than one without.
func TestDialAllocs(t *testing.T) {
	allocs := func(em virtnet.Emulator) float64 {
		dial := benchDial(t, em)
		return testing.AllocsPerRun(2000, func() {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
	if with, without := allocs(netem.New(1)), allocs(nil); with > without {
		t.Errorf("a dial allocates %v times, and %v without a Net", with, without)
	}
}
