package mux_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// untilEnd waits until the session ends, a week at most, and returns how long that has taken.
func (p *peer) untilEnd() time.Duration {
	p.Helper()
	began := time.Now()
	select {
	case <-p.s.Done():
	case <-time.After(7 * 24 * time.Hour):
		p.Fatal("the session does not end")
	}
	return time.Since(began)
}

// An end that is silent is asked for a sign of life, and given up after the time-out: then everything fails.
func TestSilence(t *testing.T) {
	for _, x := range []struct {
		name           string
		cfg            *mux.Config
		asked, timeout time.Duration // at most
	}{
		{"default", nil, 15 * time.Second, 30 * time.Second},
		{"keep-alive", &mux.Config{KeepAlive: time.Second}, time.Second, 2 * time.Second},
		{"timeout", &mux.Config{Timeout: 4 * time.Second}, 2 * time.Second, 4 * time.Second},
		{"both", &mux.Config{KeepAlive: time.Second, Timeout: 10 * time.Second}, time.Second, 10 * time.Second},
		{"timeout before keep-alive", &mux.Config{KeepAlive: time.Hour, Timeout: time.Second}, time.Second / 2, time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			script(t, x.cfg, func(t *testing.T, p *peer) {
				st := p.open(1)
				read := beginRead(st, 1)
				accept := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) })
				beginWrite(st, text(defaultWindow)).want(t, defaultWindow)
				p.wantData(st.ID(), text(defaultWindow), false)
				write := beginWrite(st, "x")
				time.Sleep(x.asked / 10)
				p.write(fPing(42)) // the last sign of life
				p.want(fPong(42))
				began := time.Now()
				p.want1(fPing(2), x.asked)
				if asked := time.Since(began); asked < x.asked*3/4 {
					t.Errorf("asked for a sign of life after %v of silence, want %v", asked, x.asked)
				}
				p.untilEnd()
				if took := time.Since(began); took > x.timeout || took < x.timeout*3/4 {
					t.Errorf("the session has ended after %v of silence, want %v", took, x.timeout)
				}
				cause := &mux.SessionError{Code: codeTimeout, Protocol: true, Err: mux.ErrTimeout}
				for op, err := range map[string]error{"read": read.outcome(t), "write": write.outcome(t), "accept": accept.outcome(t)} {
					wantErr(t, err, op, cause)
					var ne net.Error
					if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, mux.ErrTimeout) {
						t.Errorf("%v is no time-out", err)
					}
				}
				p.want(fProtocol(codeTimeout, "the other end is silent")) // and no other ping before
				p.wantEOF()
			})
		})
	}
}

// want1 wants a frame within some time.
func (p *peer) want1(want frame, d time.Duration) {
	p.Helper()
	if f, err := p.readUntil(time.Now().Add(d)); f != want {
		p.Fatalf("got %v, %v; want %v", f, err, want)
	}
}

// outcome is the error that the call has returned by now.
func (c *call[V]) outcome(t testing.TB) error {
	t.Helper()
	_, err := c.result(t)
	return err
}

// Any byte that comes is a sign of life, be it one in a minute of a frame that never ends, and pings need not be answered.
func TestAnyByteIsLife(t *testing.T) {
	script(t, &mux.Config{KeepAlive: 20 * time.Second, Timeout: 90 * time.Second}, func(t *testing.T, p *peer) {
		in := p.accept(1)
		out := encode(fData(in.ID(), text(300)))
		for _, b := range out {
			time.Sleep(time.Minute)
			p.raw([]byte{b})
		}
		if err := p.s.Err(); err != nil {
			t.Errorf("after %d minutes: %v", len(out), err)
		}
		if n := p.s.PingsWaiting(); n > 2 {
			t.Errorf("%d pings are remembered that were not answered, want the first and the last", n)
		}
		wantPattern(t, in, 0, 300)
	})
}

// A session at rest sends a ping in each keep-alive time, and that keeps it alive.
func TestIdle(t *testing.T) {
	for _, x := range []struct {
		name           string
		client, server *mux.Config
	}{
		{"default", nil, nil},
		{"one end", nil, &mux.Config{KeepAlive: -1}},
		{"none", &mux.Config{KeepAlive: -1}, &mux.Config{KeepAlive: -1}},
		{"none with time-outs", &mux.Config{KeepAlive: -1, Timeout: time.Second}, &mux.Config{KeepAlive: -1, Timeout: time.Second}},
		{"time-out only", &mux.Config{Timeout: 5 * time.Second}, &mux.Config{Timeout: 7 * time.Second}},
		{"time-out before keep-alive", &mux.Config{KeepAlive: time.Minute, Timeout: 5 * time.Second}, nil},
		{"fast", &mux.Config{KeepAlive: 100 * time.Millisecond}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := link{delay: 100 * time.Microsecond}.pair(t)
				client, server := sessionsOn(t, a, b, x.client, x.server)
				c, s := streamPair(t, client, server)
				time.Sleep(10 * time.Minute)
				if err := errors.Join(client.Err(), server.Err()); err != nil {
					t.Fatal(err)
				}
				beginWrite(c, "still there")
				wantText(t, s, "still there")
				if err := mux.CheckPair(client, server); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("frames", func(t *testing.T) {
		script(t, nil, func(t *testing.T, p *peer) {
			began := time.Now()
			for i := range 100 {
				p.want1(fPing(uint64(i+2)), 16*time.Second)
				p.write(fPong(uint64(i + 2)))
			}
			if took := time.Since(began); took < 100*10*time.Second {
				t.Errorf("100 pings took %v, want one in 15 s", took)
			}
		})
	})
}

func wantText(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// Who never says hello, or not all of it, is given up too, keep-alives or not.
func TestNoHello(t *testing.T) {
	for _, x := range []struct {
		name string
		raw  []byte
	}{
		{"nothing", nil},
		{"a byte", encode(fHello())[:1]},
		{"a header", encode(fHello(1, 1))[:12]},
		{"almost all", encode(fHello(1, 1))[:27]},
	} {
		for name, cfg := range map[string]*mux.Config{"": nil, ", no keep-alives": {KeepAlive: -1}} {
			t.Run(x.name+name, func(t *testing.T) {
				bare(t, cfg, carrierSize, func(t *testing.T, p *peer) {
					if x.raw != nil {
						p.raw(x.raw)
					}
					if took := p.untilEnd(); took > 31*time.Second || took < 22*time.Second {
						t.Errorf("it took %v, want 30 s", took)
					}
					if err := p.s.Err(); !errors.Is(err, mux.ErrTimeout) {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	}
}

// A peer that talks and does not listen is given up too.
func TestPeerDoesNotRead(t *testing.T) {
	bare(t, nil, smallCarrier, func(t *testing.T, p *peer) {
		p.greet(helloCredit, 1<<30, helloLimit, 1<<30, helloStreams, 100)
		st := p.open(1)
		write := begin(func() (int, error) { return writeOn(st) })
		talk := time.NewTicker(time.Second)
		defer talk.Stop()
		go func() {
			for p.s.Err() == nil {
				p.conn.Write(encode(fPong(77)))
				select {
				case <-talk.C:
				case <-p.s.Done():
				}
			}
		}()
		if took := p.untilEnd(); took > 36*time.Second || took < 26*time.Second {
			t.Errorf("it took %v, want 30 s", took)
		}
		write.wantErr(t, "write", &mux.SessionError{Code: codeTimeout, Protocol: true, Err: mux.ErrTimeout})
	})
}

// Without keep-alives an end may be silent, and not read, for as long as it likes.
func TestNoKeepAlives(t *testing.T) {
	bare(t, &mux.Config{KeepAlive: -1}, smallCarrier, func(t *testing.T, p *peer) {
		p.greet(helloCredit, 1<<20, helloLimit, 1<<30, helloStreams, 100)
		st := p.open(1)
		write := beginWrite(st, text(500_000))
		write2 := beginWrite(p.begin(), text(500_000))
		time.Sleep(24 * time.Hour)
		write2.wantBlocked(t)
		if err := p.s.Err(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for n < 1_000_000 {
			if f := p.read(); f.kind == data {
				n += len(f.payload)
			}
		}
		write.want(t, 500_000)
		write2.want(t, 500_000)
	})
}

// begin opens a stream, the frames of which are the caller's to read.
func (p *peer) begin() *mux.Stream {
	p.Helper()
	st, err := p.s.Open(p.ctx)
	if err != nil {
		p.Fatal(err)
	}
	return st
}

// A path that is slow is not dead: what is written to it makes headway.
func TestSlowPath(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, b := link{delay: 300 * time.Millisecond, rate: 30_000}.pair(t)
			client, server := sessionsOn(t, a, b, nil, nil)
			if direct {
				mux.SetDirect(client)
			}
			const streams, size = 40, 60_000
			for range streams {
				c, err := client.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					c.Write(pattern(0, size))
					c.Close()
				}()
			}
			for range streams {
				s, err := server.Accept(t.Context())
				if err != nil {
					t.Fatalf("direct %v: %v", direct, err)
				}
				wantPattern(t, s, 0, size)
				s.Close()
			}
		})
	}
}

// A ping does not wait behind bulk, on either end: it measures the path, and what the carrier itself holds.
func TestPingUnderLoad(t *testing.T) {
	t.Parallel()
	warmUp := 2 * time.Second
	if long() {
		warmUp = 5 * time.Second
	}
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const rtt, rate = 20 * time.Millisecond, 10_000_000
			a, b := link{delay: rtt / 2, rate: rate}.pair(t)
			client, server := sessionsOn(t, a, b, nil, nil)
			if direct {
				mux.SetDirect(client)
				mux.SetDirect(server)
			}
			if idle, err := client.Ping(t.Context()); err != nil || idle < rtt || idle > rtt+time.Millisecond {
				t.Errorf("at rest: %v, %v; want %v", idle, err, rtt)
			}
			for range 10 {
				c, s := streamPair(t, client, server)
				go writeOn(c)
				go readOn(s)
				go writeOn(s)
				go readOn(c)
			}
			time.Sleep(warmUp)
			for range 10 {
				// The carrier holds 64 KiB, which takes 7 ms, and a Write to it as much as 512 KiB.
				took, err := client.Ping(t.Context())
				if err != nil || took > rtt+150*time.Millisecond {
					t.Errorf("direct %v, under load: %v, %v; want little more than %v", direct, took, err, rtt)
				}
				if took != client.RTT() {
					t.Errorf("Ping says %v, RTT %v", took, client.RTT())
				}
				time.Sleep(100 * time.Millisecond)
			}
			// Nor does a small message on a stream.
			c, s := streamPair(t, client, server)
			go io.Copy(s, s)
			for range 10 {
				began := time.Now()
				beginWrite(c, "small")
				wantText(t, c, "small")
				if took := time.Since(began); took > rtt+150*time.Millisecond {
					t.Errorf("direct %v, under load a small message and its answer take %v, want little more than %v", direct, took, rtt)
				}
			}
			client.Close()
		})
	}
}

// Streams that all have much to send share the path fairly.
func TestFairShare(t *testing.T) {
	t.Parallel()
	seconds := 4
	if long() {
		seconds = 10
	}
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const streams, rate = 8, 10_000_000
			a, b := link{delay: 10 * time.Millisecond, rate: rate}.pair(t)
			client, server := sessionsOn(t, a, b, nil, nil)
			if direct {
				mux.SetDirect(client)
			}
			var reads []*call[int]
			for range streams {
				c, s := streamPair(t, client, server)
				go writeOn(c)
				reads = append(reads, begin(func() (int, error) { return readOn(s) }))
			}
			time.Sleep(time.Duration(seconds) * time.Second)
			client.Close()
			least, most, total := math.MaxInt, 0, 0
			for _, r := range reads {
				r.returned()
				least, most, total = min(least, r.v), max(most, r.v), total+r.v
			}
			if least < most/2 {
				t.Errorf("direct %v: of %d bytes, one stream has got %d and another %d", direct, total, least, most)
			}
			if total < seconds*rate*9/10 {
				t.Errorf("direct %v: %d bytes in %d s, want nearly %d", direct, total, seconds, seconds*rate)
			}
		})
	}
}

// A Ping in a loop is no flood, whatever its speed.
func TestManyPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.DefaultSize)
		client, server := sessionsOn(t, a, b, nil, nil)
		for i := range 30_000 {
			if _, err := client.Ping(context.Background()); err != nil {
				t.Fatalf("after %d pings: %v (other end: %v)", i, err, server.Err())
			}
		}
	})
}
