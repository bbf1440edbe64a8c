package pipenet_test

import (
	"context"
	"net"
	"sync"
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
			compareDials(b, bench.parallel, 0)
		})
	}
}

// BenchmarkDialOpen is BenchmarkDial with many connections open on both hosts, against the same with none.
func BenchmarkDialOpen(b *testing.B) {
	ctx := context.Background()
	sides := make([]ratio.Side, 2)
	for i, open := range []int{100_000, 0} {
		dial := benchDial(b, ctx, open)
		sides[i] = func(n int) { dials(b, 1, n, dial) }
	}
	ratio.Compare(b, sides[0], sides[1])
}

func compareDials(b *testing.B, parallel, open int) {
	dial := benchDial(b, context.Background(), open)
	ch := make(chan net.Conn)
	b.Cleanup(func() { close(ch) })
	go func() {
		for c := range ch {
			c.Close()
		}
	}()
	ratio.Compare(b,
		func(n int) { dials(b, parallel, n, dial) },
		func(n int) {
			dials(b, parallel, n, func() (net.Conn, error) {
				c, s := net.Pipe()
				ch <- s
				return c, nil
			})
		})
}

// benchDial returns a dial to a host that closes what it accepts. That many other connections are open
// between the two hosts.
func benchDial(b *testing.B, ctx context.Context, open int) func() (net.Conn, error) {
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

// dials dials and closes n connections in all, from that many goroutines.
func dials(b *testing.B, parallel, n int, dial func() (net.Conn, error)) {
	var wg sync.WaitGroup
	for g := range parallel {
		wg.Go(func() {
			for i := g; i < n; i += parallel {
				c, err := dial()
				if err != nil {
					b.Error(err)
					return
				}
				c.Close()
			}
		})
	}
	wg.Wait()
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
	type result struct {
		c   net.Conn
		err error
	}
	dialled := make(chan result, 1)
	go func() {
		c, err := n.Host("β").Dial(ctx, "α:1")
		dialled <- result{c, err}
	}()
	s, err := l.Accept(ctx)
	if err != nil {
		b.Fatal(err)
	}
	r := <-dialled
	if r.err != nil {
		b.Fatal(r.err)
	}
	return r.c, s
}

// BenchmarkPingPong is a round trip of 64 bytes.
func BenchmarkPingPong(b *testing.B) {
	c, s := connPair(b, pipenet.Config{})
	pc, ps := net.Pipe()
	ratio.Compare(b, pingPong(b, c, s), pingPong(b, pc, ps))
}

func pingPong(b *testing.B, c, s net.Conn) ratio.Side {
	b.Cleanup(func() { c.Close(); s.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64)
	return func(n int) {
		for range n {
			if _, err := c.Write(buf); err != nil {
				b.Error(err)
				return
			}
			if _, err := c.Read(buf); err != nil { // it comes in one piece
				b.Error(err)
				return
			}
		}
	}
}

// BenchmarkWrite is a stream of Writes of one size, read with a buffer of 128 KiB.
func BenchmarkWrite(b *testing.B) {
	for _, bench := range []struct {
		name string
		cfg  pipenet.Config
		size int
	}{
		{"synchronous/128KiB", pipenet.Config{}, 128 << 10},
		{"buffered/4KiB", pipenet.Config{Buffer: -1}, 4 << 10},
		{"buffered/16KiB", pipenet.Config{Buffer: -1}, 16 << 10},
		{"buffered/128KiB", pipenet.Config{Buffer: -1}, 128 << 10},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c, s := connPair(b, bench.cfg)
			pc, ps := net.Pipe()
			ratio.Compare(b, stream(b, c, s, bench.size), stream(b, pc, ps, bench.size))
		})
	}
}

func stream(b *testing.B, c, s net.Conn, size int) ratio.Side {
	b.Cleanup(func() { c.Close(); s.Close() })
	buf := make([]byte, size)
	got := make([]byte, 128<<10)
	return func(n int) {
		done := make(chan error, 1)
		go func() {
			left := n * size
			for left > 0 {
				m, err := s.Read(got)
				if err != nil {
					done <- err
					return
				}
				left -= m
			}
			done <- nil
		}()
		for range n {
			if _, err := c.Write(buf); err != nil {
				b.Error(err)
				return
			}
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
