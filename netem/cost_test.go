package netem_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/ratio"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// The baseline is a pipenet without a Net; these have one, without rules.

func BenchmarkDial(b *testing.B) {
	ratio.Compare(b,
		ratio.Dials(b, 1, benchDial(b, netem.New(1))),
		ratio.Dials(b, 1, benchDial(b, nil)))
}

func BenchmarkPingPong(b *testing.B) {
	c, s := benchPair(b, netem.New(1), 0)
	pc, ps := benchPair(b, nil, 0)
	ratio.Compare(b, ratio.PingPong(b, c, s), ratio.PingPong(b, pc, ps))
}

func BenchmarkWrite(b *testing.B) {
	c, s := benchPair(b, netem.New(1), -1)
	pc, ps := benchPair(b, nil, -1)
	ratio.Compare(b, ratio.Stream(b, c, s, 16<<10, 32<<10), ratio.Stream(b, pc, ps, 16<<10, 32<<10))
}

// BenchmarkLatency tells how late a segment is that has a latency of a millisecond, in real time.
func BenchmarkLatency(b *testing.B) {
	em := netem.New(1)
	c, s := benchPair(b, em, 0)
	if err := em.SetAll(netem.Rules{Latency: netem.Constant(ms)}); err != nil {
		b.Fatal(err)
	}
	var late []time.Duration
	buf := make([]byte, 10)
	for b.Loop() {
		began := time.Now()
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Read(buf); err != nil {
			b.Fatal(err)
		}
		late = append(late, time.Since(began)-ms)
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Nanoseconds()), "late-p50-ns")
	b.ReportMetric(float64(late[len(late)*99/100].Nanoseconds()), "late-p99-ns")
}

func benchNet(b testing.TB, em virtnet.Emulator, buffer int) *pipenet.Network {
	n := pipenet.Config{Buffer: buffer, Emulator: em}.New("bench")
	b.Cleanup(func() { n.Close() })
	return n
}

func benchDial(b testing.TB, em virtnet.Emulator) func() (net.Conn, error) {
	ctx := context.Background()
	n := benchNet(b, em, 0)
	l, err := n.Host("α").Listen(ctx, ":1")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	β := n.Host("β")
	return func() (net.Conn, error) { return β.Dial(ctx, "α:1") }
}

func benchPair(b *testing.B, em virtnet.Emulator, buffer int) (net.Conn, net.Conn) {
	ctx := context.Background()
	n := benchNet(b, em, buffer)
	l, err := n.Host("α").Listen(ctx, ":1")
	if err != nil {
		b.Fatal(err)
	}
	return ratio.Pair(b,
		func() (net.Conn, error) { return n.Host("β").Dial(ctx, "α:1") },
		func() (net.Conn, error) { return l.Accept(ctx) })
}
