package astranet_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/internal/ratio"
)

func tcpPair(b *testing.B) (c, s net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return ratio.Pair(b, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, l.Accept)
}

func BenchmarkPingPong(b *testing.B) {
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	c, s := pair(b, n, m, "svc")
	tc, ts := tcpPair(b)
	ratio.Compare(b, ratio.PingPong(b, c, s), ratio.PingPong(b, tc, ts))
}

func BenchmarkWrite(b *testing.B) {
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	c, s := pair(b, n, m, "svc")
	tc, ts := tcpPair(b)
	ratio.Compare(b, ratio.Stream(b, c, s, 128<<10, 128<<10), ratio.Stream(b, tc, ts, 128<<10, 128<<10))
}

// requests dials, sends a request, takes the answer and closes.
func requests(b *testing.B, dial func() (net.Conn, error), accept func() (net.Conn, error)) ratio.Side {
	go func() {
		for {
			c, err := accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var buf [64]byte
				if _, err := c.Read(buf[:]); err == nil {
					_, _ = c.Write(buf[:])
				}
			}()
		}
	}()
	return func(n int) {
		var buf [64]byte
		for range n {
			c, err := dial()
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = c.Write(buf[:])
			if _, err := c.Read(buf[:]); err != nil {
				b.Error(err)
			}
			c.Close()
		}
	}
}

func BenchmarkDial(b *testing.B) {
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	l, err := n.Bind("", "svc")
	if err != nil {
		b.Fatal(err)
	}
	tl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tl.Close() })
	ratio.Compare(b,
		requests(b, func() (net.Conn, error) { return m.Dial("", "svc") }, l.Accept),
		requests(b, func() (net.Conn, error) { return net.Dial("tcp", tl.Addr().String()) }, tl.Accept))
}

// BenchmarkDials dials and closes from 100 goroutines.
func BenchmarkDials(b *testing.B) {
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	l, err := n.Bind("", "svc")
	if err != nil {
		b.Fatal(err)
	}
	tl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tl.Close() })
	go ratio.CloseAll(l.Accept)
	go ratio.CloseAll(tl.Accept)
	ratio.Compare(b,
		ratio.Dials(b, 100, func() (net.Conn, error) { return m.Dial("", "svc") }),
		ratio.Dials(b, 100, func() (net.Conn, error) { return net.Dial("tcp", tl.Addr().String()) }))
}

// BenchmarkDialAlone is a dial whose connection is kept: what it costs both ends together, and what an idle connection takes.
func BenchmarkDialAlone(b *testing.B) {
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	l, err := n.Bind("", "svc")
	if err != nil {
		b.Fatal(err)
	}
	kept := make([]net.Conn, 2*b.N)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range b.N {
			if kept[b.N+i], err = l.Accept(); err != nil {
				return
			}
		}
	}()
	before := heapInUse()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if kept[i], err = m.Dial("", "svc"); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(heapInUse()-before)/float64(2*b.N), "B/end")
	for _, c := range kept {
		c.Close()
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkServices binds 10,000 services and takes them back; the time is that until a neighbour knows, for each.
func BenchmarkServices(b *testing.B) {
	const count = 10_000
	n, m := linked(b, astranet.Config{}, astranet.Config{})
	until := func(k int) {
		for len(m.Services()) != k {
			time.Sleep(time.Millisecond)
		}
	}
	var taken int64
	for b.Loop() {
		b.StopTimer()
		before := heapInUse()
		b.StartTimer()
		var all []net.Listener
		for i := range count {
			l, err := n.Bind("", fmt.Sprint("service-", i))
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, l)
		}
		until(count)
		b.StopTimer()
		taken = heapInUse() - before
		b.StartTimer()
		for _, l := range all {
			l.Close()
		}
		until(0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/service")
	b.ReportMetric(float64(taken)/count, "B/service")
}
