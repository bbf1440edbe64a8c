package lonet_test

import (
	"context"
	"net"
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

// benchSides returns how to dial and to accept on lonet and on TCP.
func benchSides(b *testing.B) (dial, accept, tcpDial, tcpAccept func() (net.Conn, error)) {
	ctx := context.Background()
	l, β := benchHosts(b)
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tcp.Close() })
	addr := tcp.Addr().String()
	return func() (net.Conn, error) { return β.Dial(ctx, "α:1") },
		func() (net.Conn, error) { return l.Accept(ctx) },
		func() (net.Conn, error) { return net.Dial("tcp4", addr) },
		tcp.Accept
}

// BenchmarkDial is dial, accept, and close on both sides.
func BenchmarkDial(b *testing.B) {
	for _, bench := range []struct {
		name     string
		parallel int
	}{{"sequential", 1}, {"parallel=16", 16}} {
		b.Run(bench.name, func(b *testing.B) {
			dial, accept, tcpDial, tcpAccept := benchSides(b)
			go ratio.CloseAll(accept)
			go ratio.CloseAll(tcpAccept)
			ratio.Compare(b, ratio.Dials(b, bench.parallel, dial), ratio.Dials(b, bench.parallel, tcpDial))
		})
	}
}

// BenchmarkPingPong is a round trip of 64 bytes.
func BenchmarkPingPong(b *testing.B) {
	dial, accept, tcpDial, tcpAccept := benchSides(b)
	c, s := ratio.Pair(b, dial, accept)
	tc, ts := ratio.Pair(b, tcpDial, tcpAccept)
	ratio.Compare(b, ratio.PingPong(b, c, s), ratio.PingPong(b, tc, ts))
}

// BenchmarkWrite is a stream of Writes of 128 KiB.
func BenchmarkWrite(b *testing.B) {
	dial, accept, tcpDial, tcpAccept := benchSides(b)
	c, s := ratio.Pair(b, dial, accept)
	tc, ts := ratio.Pair(b, tcpDial, tcpAccept)
	ratio.Compare(b, ratio.Stream(b, c, s, 128<<10, 128<<10), ratio.Stream(b, tc, ts, 128<<10, 128<<10))
}
