package mux_test

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// resumePair returns the two ends of a stream over TCP, of a session that can be resumed, or of one like it that can't.
func resumePair(b testing.TB, resume *mux.Resume) (client, server *mux.Session) {
	b.Helper()
	cfg := &mux.Config{Resume: resume}
	c, d := tcpPair(b)
	client, err := mux.Client(c, cfg)
	if err != nil {
		b.Fatal(err)
	}
	a := mux.NewAcceptor(cfg)
	server, _, err = a.Serve(context.Background(), d)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); server.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil {
		b.Fatal(err)
	}
	return client, server
}

// BenchmarkResume measures a session with and without resumption by turns, and reports the median of the ratios.
func BenchmarkResume(b *testing.B) {
	for _, m := range []struct {
		name  string
		bytes int64
		run   func(b testing.TB, client, server *mux.Session) func(n int)
	}{
		{"tput1", 128 << 10, tput1},
		{"ping1", 64, ping1},
		{"open1", 64, func(tb testing.TB, c, s *mux.Session) func(int) { return open1(b, c, s) }},
	} {
		b.Run(m.name, func(b *testing.B) {
			var run [2]func(n int)
			for i, r := range []*mux.Resume{nil, {}} {
				client, server := resumePair(b, r)
				run[i] = m.run(b, client, server)
				run[i](100)
			}
			const share = 64 // of turns, so that the machine's noise is in both
			var ratios []float64
			var with time.Duration
			n := 0
			for b.Loop() {
				if n++; n%share > 0 {
					continue
				}
				var took [2]time.Duration
				for i := range run {
					start := time.Now()
					run[i](share)
					took[i] = time.Since(start)
				}
				ratios = append(ratios, float64(took[0])/float64(took[1]))
				with += took[1]
			}
			if len(ratios) == 0 {
				return
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "with/without")
			b.ReportMetric(float64(with.Nanoseconds())/float64(len(ratios)*share), "ns/with")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func tput1(b testing.TB, client, server *mux.Session) func(n int) {
	opened, accepted := streamPair(b, client, server)
	read := make(chan int)
	go func() {
		buf := make([]byte, 128<<10)
		for n := range read {
			for range n {
				if _, err := io.ReadFull(accepted, buf); err != nil {
					return
				}
			}
			accepted.Write(buf[:1])
		}
	}()
	b.Cleanup(func() { close(read) })
	buf := make([]byte, 128<<10)
	return func(n int) {
		read <- n
		for range n {
			opened.Write(buf)
		}
		io.ReadFull(opened, buf[:1])
	}
}

func ping1(b testing.TB, client, server *mux.Session) func(n int) {
	opened, accepted := streamPair(b, client, server)
	go echo(accepted)
	buf := make([]byte, 64)
	return func(n int) {
		for range n {
			opened.Write(buf)
			io.ReadFull(opened, buf)
		}
	}
}

func open1(b *testing.B, client, server *mux.Session) func(n int) {
	ctx := context.Background()
	serve(func() net.Conn {
		st, err := server.Accept(ctx)
		if err != nil {
			return nil
		}
		return st
	}, answer)
	buf := make([]byte, 64)
	return func(n int) {
		for range n {
			st, err := client.Open(ctx)
			if err != nil {
				b.Error(err)
				return
			}
			requestAnswer(b, st, buf)
		}
	}
}
