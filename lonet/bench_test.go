package lonet_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/virtnet/virtnet/internal/ratio"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet"
)

// The baseline is raw TCP over loopback in the same process, with package net's defaults.

// benchHosts returns a listener on a host, and another host on a sub-network of its own.
func benchHosts(b *testing.B) (xnet.Listener, xnet.Networker) {
	ctx := context.Background()
	cfg := lonet.Config{TempDir: b.TempDir()}
	var hosts []xnet.Networker
	for _, name := range []string{"α", "β"} {
		n, err := cfg.Join(ctx, "bench")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		h, err := n.NewHost(ctx, name)
		if err != nil {
			b.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	l, err := hosts[0].Listen(ctx, ":1")
	if err != nil {
		b.Fatal(err)
	}
	return l, hosts[1]
}

func benchTCP(b *testing.B) net.Listener {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkDial is dial, accept, and close on both sides.
func BenchmarkDial(b *testing.B) {
	ctx := context.Background()
	for _, bench := range []struct {
		name     string
		parallel int
	}{{"sequential", 1}, {"parallel=16", 16}} {
		b.Run(bench.name, func(b *testing.B) {
			l, β := benchHosts(b)
			tcp := benchTCP(b)
			go closeAll(func() (net.Conn, error) { return l.Accept(ctx) })
			go closeAll(tcp.Accept)
			addr := tcp.Addr().String()
			ratio.Compare(b,
				dialSide(b, bench.parallel, func() (net.Conn, error) { return β.Dial(ctx, "α:1") }),
				dialSide(b, bench.parallel, func() (net.Conn, error) { return net.Dial("tcp4", addr) }))
		})
	}
}

// closeAll accepts connections and closes them.
func closeAll(accept func() (net.Conn, error)) {
	for {
		c, err := accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// dialSide dials and closes n connections in all, from that many goroutines.
func dialSide(b *testing.B, parallel int, dial func() (net.Conn, error)) ratio.Side {
	return func(n int) {
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
}
