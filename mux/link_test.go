package mux_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
)

// A link is a carrier over some distance: what is written arrives later. For bubbles, where that takes no time.
type link struct {
	delay time.Duration // one way
	rate  int           // bytes in a second; 0 is any
}

// pair returns the ends of a connection over the link.
func (l link) pair(t testing.TB) (a, b net.Conn) {
	a, farA := pipe.New(64 << 10)
	b, farB := pipe.New(64 << 10)
	var wg sync.WaitGroup
	l.forward(&wg, farA, farB)
	l.forward(&wg, farB, farA)
	t.Cleanup(func() {
		for _, c := range []*pipe.Conn{farA, farB} {
			c.Close()
		}
		wg.Wait()
	})
	return a, b
}

// A packet is on its way.
type packet struct {
	at   time.Time // when it arrives
	data []byte
	err  error
}

// forward carries what is written to src to dst.
func (l link) forward(wg *sync.WaitGroup, src, dst *pipe.Conn) {
	way := make(chan packet, 1<<16)
	wg.Go(func() {
		defer close(way)
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			way <- packet{time.Now().Add(l.delay), buf[:n], err}
			if err != nil {
				return
			}
			if l.rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(l.rate))
			}
		}
	})
	wg.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.at))
			switch _, err := dst.Write(p.data); {
			case p.err == io.EOF:
				dst.CloseWrite()
			case p.err != nil:
				dst.Close()
			case err != nil:
				src.CloseRead()
			}
		}
	})
}
