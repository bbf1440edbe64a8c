package pipe

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// pipes are what each benchmark runs on: net.Pipe, which is the baseline, and ours.
var pipes = []struct {
	name string
	make func() (a, b net.Conn)
}{
	{"net.Pipe", net.Pipe},
	{"pipe", func() (a, b net.Conn) { return New(0) }},
	{"buffered", func() (a, b net.Conn) { return New(DefaultSize) }},
}

// BenchmarkPingPong sends 64 bytes to and fro.
func BenchmarkPingPong(b *testing.B) {
	for _, p := range pipes {
		b.Run(p.name, func(b *testing.B) {
			c1, c2 := p.make()
			defer c1.Close()
			go func() {
				defer c2.Close()
				buf := make([]byte, 64)
				for {
					n, err := c2.Read(buf)
					if err != nil {
						return
					}
					c2.Write(buf[:n])
				}
			}()
			buf := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				c1.Write(buf)
				c1.Read(buf)
			}
		})
	}
}

// BenchmarkStream writes in one direction; the reader has a buffer of 32 KiB, as io.Copy, or of 128 KiB.
func BenchmarkStream(b *testing.B) {
	for _, readSize := range []int{32 << 10, 128 << 10} {
		for _, size := range []int{64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10} {
			for _, p := range pipes {
				b.Run(fmt.Sprintf("read=%dK/write=%d/%s", readSize>>10, size, p.name), func(b *testing.B) {
					c1, c2 := p.make()
					var wg sync.WaitGroup
					wg.Go(func() {
						defer c2.Close()
						buf := make([]byte, readSize)
						for {
							if _, err := c2.Read(buf); err != nil {
								return
							}
						}
					})
					buf := make([]byte, size)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						c1.Write(buf)
					}
					c1.Close()
					wg.Wait()
				})
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, p := range pipes {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			var keep net.Conn
			for b.Loop() {
				keep, _ = p.make()
			}
			_ = keep
		})
	}
}
