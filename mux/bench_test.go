package mux_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/virtnet/virtnet/mux"
)

// kinds are what is measured: the carrier alone, one connection a stream, and a session on it.
var kinds = []struct {
	name string
	open func(b *testing.B) (dial func() net.Conn, accept func() net.Conn)
}{
	{"tcp", func(b *testing.B) (dial, accept func() net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		return func() net.Conn {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Error(err)
				}
				return c
			}, func() net.Conn {
				c, err := l.Accept()
				if err != nil {
					return nil
				}
				return c
			}
	}},
	{"mux", func(b *testing.B) (dial, accept func() net.Conn) {
		client, server := sessions(b, tcpPair)
		ctx := context.Background()
		return func() net.Conn {
				st, err := client.Open(ctx)
				if err != nil {
					b.Error(err)
				}
				return st
			}, func() net.Conn {
				st, err := server.Accept(ctx)
				if err != nil {
					return nil
				}
				return st
			}
	}},
}

func each(b *testing.B, f func(b *testing.B, dial, accept func() net.Conn)) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			dial, accept := k.open(b)
			b.ReportAllocs()
			f(b, dial, accept)
		})
	}
}

func serve(accept func() net.Conn, f func(net.Conn)) {
	go func() {
		for {
			c := accept()
			if c == nil {
				return
			}
			go f(c)
		}
	}()
}

func echo(c net.Conn) {
	buf := make([]byte, 64)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			break
		}
		if _, err := c.Write(buf); err != nil {
			break
		}
	}
	c.Close()
}

func BenchmarkPing1(b *testing.B) {
	each(b, func(b *testing.B, dial, accept func() net.Conn) {
		serve(accept, echo)
		c := dial()
		defer c.Close()
		buf := make([]byte, 64)
		for b.Loop() {
			c.Write(buf)
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPing100(b *testing.B) {
	each(b, func(b *testing.B, dial, accept func() net.Conn) {
		serve(accept, echo)
		var wg sync.WaitGroup
		per := b.N/100 + 1
		for range 100 {
			c := dial()
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64)
				for range per {
					c.Write(buf)
					if _, err := io.ReadFull(c, buf); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

func benchTput(b *testing.B, n int, recv func(net.Conn)) {
	each(b, func(b *testing.B, dial, accept func() net.Conn) {
		var done sync.WaitGroup
		done.Add(n)
		serve(accept, func(c net.Conn) { recv(c); c.Close(); done.Done() })
		b.SetBytes(128 << 10)
		per := b.N/n + 1
		for range n {
			c := dial()
			go func() {
				buf := make([]byte, 128<<10)
				for range per {
					if _, err := c.Write(buf); err != nil {
						b.Error(err)
					}
				}
				c.(interface{ CloseWrite() error }).CloseWrite()
				io.ReadFull(c, buf[:1])
				c.Close()
			}()
		}
		done.Wait()
	})
}

func readAll(c net.Conn) {
	buf := make([]byte, 128<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkTput1(b *testing.B)   { benchTput(b, 1, readAll) }
func BenchmarkTput1WT(b *testing.B) { benchTput(b, 1, func(c net.Conn) { io.Copy(discard{}, c) }) }
func BenchmarkTput100(b *testing.B) { benchTput(b, 100, readAll) }

func requestAnswer(b *testing.B, c net.Conn, buf []byte) {
	c.Write(buf)
	if _, err := io.ReadFull(c, buf); err != nil {
		b.Error(err)
	}
	c.Close()
}

func answer(c net.Conn) {
	buf := make([]byte, 64)
	if _, err := io.ReadFull(c, buf); err == nil {
		c.Write(buf)
	}
	c.Close()
}

func BenchmarkOpen1(b *testing.B) {
	each(b, func(b *testing.B, dial, accept func() net.Conn) {
		serve(accept, answer)
		buf := make([]byte, 64)
		for b.Loop() {
			requestAnswer(b, dial(), buf)
		}
	})
}

func BenchmarkOpen64(b *testing.B) {
	each(b, func(b *testing.B, dial, accept func() net.Conn) {
		serve(accept, answer)
		var wg sync.WaitGroup
		per := b.N/64 + 1
		for range 64 {
			wg.Go(func() {
				buf := make([]byte, 64)
				for range per {
					requestAnswer(b, dial(), buf)
				}
			})
		}
		wg.Wait()
	})
}

var _ = mux.Config{}
