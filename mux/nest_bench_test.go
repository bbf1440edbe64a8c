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

// nestKinds are what is compared with the first of them: sessions on a connection, and on a stream of a session on one.
var nestKinds = []struct {
	name           string
	nested, resume bool
}{
	{"flat", false, false},
	{"flatResume", false, true},
	{"nest", true, false},
	{"nestResume", true, true},
}

// nestSessions returns the two ends of a session on a connection, or in a stream of one.
func nestSessions(b testing.TB, pair func(testing.TB) (a, b net.Conn), nested, resume bool) (client, server *mux.Session) {
	cfg := new(mux.Config)
	if resume {
		cfg.Resume = new(mux.Resume)
	}
	var c, d io.ReadWriteCloser
	c, d = pair(b)
	if nested {
		outer, other := sessionsOn(b, c.(net.Conn), d.(net.Conn), nil, nil)
		c, d = streamPair(b, outer, other)
	}
	return resumables(b, c, d, cfg)
}

// BenchmarkNested measures sessions on a connection and nested ones by turns, and reports the medians of how many times as fast
// they are as the connection alone.
func BenchmarkNested(b *testing.B) {
	carriers := map[string]func(testing.TB) (a, b net.Conn){"tcp": tcpPair, "tls": tlsPair}
	for _, carrier := range []string{"tcp", "tls"} {
		for _, m := range []struct {
			name string
			run  func(b testing.TB, c, d net.Conn) func(n int)
		}{{"tput1", nestTput}, {"ping1", nestPing}} {
			b.Run(carrier+"/"+m.name, func(b *testing.B) {
				c, d := carriers[carrier](b)
				b.Cleanup(func() { c.Close(); d.Close() })
				names, runs := []string{carrier}, []func(n int){m.run(b, c, d)}
				for _, k := range nestKinds {
					client, server := nestSessions(b, carriers[carrier], k.nested, k.resume)
					x, y := streamPair(b, client, server)
					names, runs = append(names, k.name), append(runs, m.run(b, x, y))
				}
				byTurns(b, names, runs)
			})
		}
		b.Run(carrier+"/open1", func(b *testing.B) {
			var names []string
			var runs []func(n int)
			for _, k := range nestKinds {
				client, server := nestSessions(b, carriers[carrier], k.nested, k.resume)
				names, runs = append(names, k.name), append(runs, open1(b, client, server))
			}
			byTurns(b, names, runs)
		})
	}
}

// byTurns runs each for some milliseconds, again and again, and reports how many times as fast as the first they are.
func byTurns(b *testing.B, names []string, runs []func(n int)) {
	n := 1
	for start := time.Now(); time.Since(start) < 4*time.Millisecond; n *= 2 {
		start = time.Now()
		runs[0](n)
	}
	took := make([][]float64, len(runs))
	for turn := 0; b.Loop(); turn++ {
		for i := range runs {
			i = (i + turn) % len(runs)
			start := time.Now()
			runs[i](n)
			took[i] = append(took[i], time.Since(start).Seconds())
		}
	}
	b.ReportMetric(0, "ns/op")
	for i := range runs {
		ratios := make([]float64, len(took[i]))
		for k := range ratios {
			ratios[k] = took[0][k] / took[i][k]
		}
		slices.Sort(ratios)
		slices.Sort(took[i])
		b.ReportMetric(ratios[len(ratios)/2], names[i])
		if i == 0 {
			b.ReportMetric(took[0][len(ratios)/2]/float64(n)*1e6, "us/"+names[0])
		}
	}
}

func nestTput(b testing.TB, c, d net.Conn) func(n int) {
	read := make(chan int)
	go func() {
		buf := make([]byte, 128<<10)
		for n := range read {
			for left := n * len(buf); left > 0; {
				k, err := d.Read(buf)
				if err != nil {
					return
				}
				left -= k
			}
			d.Write(buf[:1])
		}
	}()
	b.Cleanup(func() { close(read) })
	buf := make([]byte, 128<<10)
	return func(n int) {
		read <- n
		for range n {
			c.Write(buf)
		}
		io.ReadFull(c, buf[:1])
	}
}

func nestPing(_ testing.TB, c, d net.Conn) func(n int) {
	go echo(d)
	buf := make([]byte, 64)
	return func(n int) {
		for range n {
			c.Write(buf)
			io.ReadFull(c, buf)
		}
	}
}

// resumables returns the two ends of a session that is resumable if the Config says so.
func resumables(t testing.TB, c, d io.ReadWriteCloser, cfg *mux.Config) (client, server *mux.Session) {
	t.Helper()
	client, err := mux.Client(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, _, err = mux.NewAcceptor(cfg).Serve(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	return client, server
}
