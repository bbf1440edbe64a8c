package pipenet_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/virtnet/virtnet/internal/ratio"
	"github.com/virtnet/virtnet/pipenet"
)

// The baseline is net.Pipe.

// BenchmarkDial is dial, accept, and close on both sides; the baseline hands the other end of a net.Pipe to an
// accepting goroutine over a channel.
func BenchmarkDial(b *testing.B) {
	for _, bench := range []struct {
		name     string
		parallel int
	}{{"sequential", 1}, {"parallel=16", 16}} {
		b.Run(bench.name, func(b *testing.B) {
			ch := make(chan net.Conn)
			b.Cleanup(func() { close(ch) })
			go func() {
				for c := range ch {
					c.Close()
				}
			}()
			ratio.Compare(b,
				ratio.Dials(b, bench.parallel, benchDial(b, context.Background(), 0)),
				ratio.Dials(b, bench.parallel, func() (net.Conn, error) {
					c, s := net.Pipe()
					ch <- s
					return c, nil
				}))
		})
	}
}

// BenchmarkDialOpen is BenchmarkDial with many connections open on both hosts, against the same with none.
func BenchmarkDialOpen(b *testing.B) {
	ctx := context.Background()
	ratio.Compare(b,
		ratio.Dials(b, 1, benchDial(b, ctx, 100_000)),
		ratio.Dials(b, 1, benchDial(b, ctx, 0)))
}

// benchDial returns a dial to a host that closes what it accepts. That many other connections are open
// between the two hosts.
func benchDial(b testing.TB, ctx context.Context, open int) func() (net.Conn, error) {
	n := pipenet.New("bench")
	α, β := n.Host("α"), n.Host("β")
	l, err := α.Listen(ctx, ":1")
	if err != nil {
		b.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for i := 0; ; i++ {
			c, err := l.Accept(ctx)
			switch {
			case err != nil:
				return
			case i >= open:
				c.Close()
			}
		}
	}()
	b.Cleanup(func() {
		pipenet.AsVirtNet(n).Close()
		<-accepted
	})
	dial := func() (net.Conn, error) { return β.Dial(ctx, "α:1") }
	for range open {
		if _, err := dial(); err != nil {
			b.Fatal(err)
		}
	}
	return dial
}

// connPair returns the two ends of a connection.
func connPair(b *testing.B, cfg pipenet.Config) (net.Conn, net.Conn) {
	ctx := context.Background()
	n := cfg.New("bench")
	b.Cleanup(func() { pipenet.AsVirtNet(n).Close() })
	l, err := n.Host("α").Listen(ctx, ":1")
	if err != nil {
		b.Fatal(err)
	}
	return ratio.Pair(b,
		func() (net.Conn, error) { return n.Host("β").Dial(ctx, "α:1") },
		func() (net.Conn, error) { return l.Accept(ctx) })
}

// BenchmarkPingPong is a round trip of 64 bytes.
func BenchmarkPingPong(b *testing.B) {
	c, s := connPair(b, pipenet.Config{})
	pc, ps := net.Pipe()
	ratio.Compare(b, ratio.PingPong(b, c, s), ratio.PingPong(b, pc, ps))
}

// BenchmarkWrite is a stream of Writes of one size, read with a buffer as io.Copy has it, and with one that
// takes the longest of them whole.
func BenchmarkWrite(b *testing.B) {
	for _, mode := range []struct {
		name  string
		cfg   pipenet.Config
		sizes []int
	}{
		{"synchronous", pipenet.Config{}, []int{128}},
		{"buffered", pipenet.Config{Buffer: -1}, []int{4, 16, 128}},
	} {
		for _, size := range mode.sizes {
			for _, read := range []int{32, 128} {
				b.Run(fmt.Sprintf("%s/write=%dKiB/read=%dKiB", mode.name, size, read), func(b *testing.B) {
					c, s := connPair(b, mode.cfg)
					pc, ps := net.Pipe()
					ratio.Compare(b,
						ratio.Stream(b, c, s, size<<10, read<<10),
						ratio.Stream(b, pc, ps, size<<10, read<<10))
				})
			}
		}
	}
}
