package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/virtnet/virtnet/mux"
)

// TestNestedFrames has a session in a stream write, and looks at the frames outside: what it writes at once is one frame,
// however large, if the other end takes such; no header is a frame of its own.
func TestNestedFrames(t *testing.T) {
	for _, x := range []struct {
		name  string
		hello []uint64
		want  []int // bytes of the frames that 128 KiB inside are
	}{
		{"large frames", []uint64{helloData, mostFrame}, []int{12 + maxFrame}},
		{"any frames", []uint64{helloData, 1<<64 - 1}, []int{12 + maxFrame}},
		{"no word of it", nil, []int{6 + maxFrame/2, 6 + maxFrame/2}},
		{"a low word", []uint64{helloData, 5}, []int{6 + maxFrame/2, 6 + maxFrame/2}},
	} {
		t.Run(x.name, func(t *testing.T) {
			bare(t, nil, 4<<20, func(t *testing.T, p *peer) {
				p.greet(append(x.hello, helloLimit, 1<<30)...)
				st := p.open(1)
				inner, err := mux.Client(st, &mux.Config{KeepAlive: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer inner.Close()
				p.want(fCredit(st.ID(), 4<<20)) // at once
				p.write(fCredit(st.ID(), 1<<30))
				tunnel := func(f frame) { p.write(fData(st.ID(), string(encode(f)))) }
				tunnel(fHello(helloCredit, 1<<30, helloLimit, 1<<30, helloStreams, 9))
				synctest.Wait()
				for left := 12 + 4*16 + 12; left > 0; { // the inner hello and ping
					f := p.read()
					if f.kind != data || len(f.payload) > left {
						t.Fatalf("got %v, want %d bytes", f, left)
					}
					left -= len(f.payload)
				}
				in, err := inner.Open(p.ctx)
				if err != nil {
					t.Fatal(err)
				}
				beginWrite(in, "x").want(t, 1)
				p.want(fData(st.ID(), string(encode(fOpen(1), fData(1, "x")))))
				w := beginWrite(in, text(maxFrame))
				var got strings.Builder
				for i, want := range x.want {
					f := p.read()
					if f.kind != data || f.id != st.ID() {
						t.Fatalf("got %v, want data", f)
					}
					if p.direct && len(f.payload) != want {
						t.Errorf("frame %d has %d bytes, want %d", i, len(f.payload), want)
					}
					got.WriteString(f.payload)
				}
				w.want(t, maxFrame)
				if got.String() != string(encode(fData(1, text(maxFrame)))) {
					t.Error("what the frames carry is not what was written")
				}
			})
		})
	}
}

// A stream that carries a session has a large window at once, within the limits.
func TestNestedWindow(t *testing.T) {
	for _, x := range []struct {
		limits mux.Limits
		want   int
	}{
		{mux.Limits{}, 4 << 20},
		{mux.Limits{MaxStreamWindow: 100_000}, 100_000},
		{mux.Limits{SessionWindow: 8 << 20}, 1 << 20},
		{mux.Limits{StreamWindow: 6 << 20, SessionWindow: 64 << 20}, 6 << 20},
	} {
		t.Run(fmt.Sprint(x.limits), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := link{}.pair(t)
				cfg := &mux.Config{Limits: x.limits}
				c, d := sessionsOn(t, a, b, cfg, cfg)
				opened, accepted := streamPair(t, c, d)
				sessionsOn(t, opened, accepted, nil, nil)
				synctest.Wait()
				for _, st := range []*mux.Stream{opened, accepted} {
					if got := st.Window(); got != x.want {
						t.Errorf("got a window of %d, want %d", got, x.want)
					}
				}
			})
		})
	}
}

// TestConnNestedResumable is nettest's test on streams of a session that can be resumed and runs in a stream. TestConn has those that
// can't.
func TestConnNestedResumable(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string]func(testing.TB) (a, b net.Conn){"tcp": tcpPair, "tls": tlsPair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				r := newRig(t, func() (a, b net.Conn) { return nested(t, pair) }, true, nil)
				c1, c2 = streamPair(t, r.client, r.server)
				return c1, c2, func() { r.client.Close(); r.server.Close() }, nil
			})
		})
	}
}

// A tunnels makes tunnels: streams of a session that is the link, and of another one when that has ended.
type tunnels struct {
	testing.TB
	mu             sync.Mutex
	client, server *mux.Session
	last           *mux.Stream
	links          int
	closed         bool // there are no more
}

// pair returns the two ends of a tunnel.
func (u *tunnels) pair() (a, b net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		if u.closed {
			a, b := net.Pipe()
			return a, b
		}
		if u.client == nil || u.client.Err() != nil || u.server.Err() != nil {
			u.client, u.server = sessions(u, tcpPair)
			u.links++
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		opened, err1 := u.client.Open(ctx)
		accepted, err2 := u.server.Accept(ctx)
		cancel()
		if err1 == nil && err2 == nil {
			u.last = opened
			return opened, accepted
		}
	}
}

// A session in a tunnel goes on in another, on the same link or the next, whatever ends the tunnel: no byte is lost.
func TestTunnelEnds(t *testing.T) {
	for _, x := range []struct {
		name  string
		links int
		end   func(u *tunnels)
	}{
		{"stream reset", 1, func(u *tunnels) { u.last.Reset(7) }},
		{"stream closed", 1, func(u *tunnels) { u.last.Close() }},
		{"other end reset", 1, func(u *tunnels) { u.last.CloseRead() }},
		{"link closed", 6, func(u *tunnels) { u.client.Close() }},
		{"link lost", 6, func(u *tunnels) { u.server.CloseWithError(3, "gone") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			u := &tunnels{TB: t}
			r := newRig(t, u.pair, true, nil)
			l := &load{rig: r, seed: 1, streams: 20, size: 300_000}
			done := make(chan struct{})
			go func() { l.run(); close(done) }()
			for i := range 5 {
				for end := time.Now().Add(patience); r.client.Stats().Resumed < uint64(i) && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				u.mu.Lock()
				x.end(u)
				u.mu.Unlock()
			}
			<-done
			for end := time.Now().Add(patience); r.client.Stats().Resumed < 5 && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the last end may have come when all was done
			}
			if got := r.client.Stats().Resumed; got != 5 {
				t.Errorf("resumed %d times, want 5", got)
			}
			u.mu.Lock()
			defer u.mu.Unlock()
			u.closed = true // or the end of the link would make the next
			if u.links != x.links {
				t.Errorf("there were %d links, want %d", u.links, x.links)
			}
		})
	}
}

// The end of a session in a stream ends the stream, on both ends, and nothing else.
func TestNestedClose(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(client, server *mux.Session) error
	}{
		{"client", func(client, _ *mux.Session) error { return client.Close() }},
		{"server", func(_, server *mux.Session) error { return server.Close() }},
		{"error", func(client, _ *mux.Session) error { return client.CloseWithError(5, "enough") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, d := sessions(t, link{delay: time.Millisecond}.pair)
				a, b := streamPair(t, c, d)
				client, server := resumables(t, a, b, resumeConfig())
				opened, accepted := streamPair(t, client, server)
				start := time.Now()
				go opened.Write(make([]byte, 1<<20))
				io.ReadFull(accepted, make([]byte, 1<<19))
				if err := x.end(client, server); err != nil {
					t.Error(err)
				}
				<-client.Done()
				<-server.Done()
				time.Sleep(10 * time.Millisecond)
				if took := time.Since(start); took > 100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				if n, m := c.NumStreams(), d.NumStreams(); n+m > 0 {
					t.Errorf("there are %d and %d streams outside", n, m)
				}
				if err := errors.Join(c.Err(), d.Err()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A link on which two tunnels are saturated in both directions stays alive, and so do the sessions in them; both get their share, and a
// ping of any of them takes about as long as the link needs for what it has taken.
func TestTunnelsShare(t *testing.T) {
	for _, resume := range []bool{false, true} {
		t.Run(fmt.Sprintf("resumable %v", resume), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rate = 10 << 20
				a, b := link{delay: 2 * time.Millisecond, rate: rate}.pair(t)
				cfg := &mux.Config{KeepAlive: time.Second, Timeout: 2 * time.Second}
				c, d := sessionsOn(t, a, b, cfg, cfg)
				mux.SetDirect(c)
				mux.SetDirect(d)
				inner := *cfg
				inner.Limits.StreamWindow = 256 << 10 // as much as the link takes while a credit comes back
				if resume {
					inner.Resume = new(mux.Resume)
				}
				var got [3]atomic.Int64
				var busy sync.WaitGroup
				var all []*mux.Session
				for i := range got {
					x, y := streamPair(t, c, d)
					client, server := resumables(t, x, y, &inner)
					all = append(all, client, server)
					if i == 2 {
						break // at rest
					}
					for _, ends := range [][2]*mux.Session{{client, server}, {server, client}} {
						from, to := streamPair(t, ends[0], ends[1])
						busy.Go(func() { io.Copy(from, zeros{}) })
						busy.Go(func() { io.Copy(tally{&got[i]}, to) })
					}
				}
				const lasts = 20 * time.Second
				end := time.Now().Add(lasts)
				longest := make([]time.Duration, len(all))
				for time.Now().Before(end) {
					for i, s := range all {
						rtt, err := s.Ping(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						longest[i] = max(longest[i], rtt)
					}
					time.Sleep(50 * time.Millisecond)
				}
				x, y := got[0].Load(), got[1].Load()
				t.Logf("%d and %d MB of %d, pings %v", x>>20, y>>20, 2*rate*int(lasts/time.Second)>>20, longest)
				if x+y < int64(0.9*2*rate*lasts.Seconds()) || min(x, y) < (x+y)/5*2 {
					t.Errorf("the tunnels have carried %d and %d bytes", x, y)
				}
				for i, rtt := range longest {
					if most := 200 * time.Millisecond; rtt > most || i >= 4 && rtt > most/2 {
						t.Errorf("session %d: a ping took %v", i, rtt)
					}
				}
				for _, s := range append(all, c, d) {
					if err := s.Err(); err != nil {
						t.Error(err)
					}
				}
				for _, s := range append(all, c, d) {
					go s.Close()
				}
				busy.Wait()
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type tally struct{ n *atomic.Int64 }

func (t tally) Write(p []byte) (int, error) {
	t.n.Add(int64(len(p)))
	return len(p), nil
}

// TestStreamErr looks at what Err says of streams that have ended in all ways.
func TestStreamErr(t *testing.T) {
	both := func(f func(*mux.Stream) error) func(c, s *mux.Stream) { return func(c, s *mux.Stream) { f(c); f(s) } }
	for _, x := range []struct {
		name string
		end  func(c, s *mux.Stream) // s is asked
		want error
	}{
		{"open", func(c, s *mux.Stream) {}, nil},
		{"reset by the other end", func(c, s *mux.Stream) { c.Write([]byte("x")); c.Reset(7) }, &mux.StreamError{Code: 7, Remote: true}},
		{"reset here", func(c, s *mux.Stream) { s.Reset(7) }, &mux.StreamError{Code: 7}},
		{"closed here", func(c, s *mux.Stream) { s.Close() }, net.ErrClosed},
		{"closed by the other end", func(c, s *mux.Stream) { c.Close() }, &mux.StreamError{Remote: true, Stop: true}},
		{"closed, with bytes to read", func(c, s *mux.Stream) { c.Write([]byte("x")); c.Close() }, nil},
		{"the other end's write half", func(c, s *mux.Stream) { c.CloseWrite() }, nil},
		{"the other end's read half", func(c, s *mux.Stream) { c.CloseRead() }, nil},
		{"our halves", func(c, s *mux.Stream) { s.CloseWrite(); s.CloseRead() }, net.ErrClosed},
		{"done", both((*mux.Stream).CloseWrite), io.EOF},
		{"session closed", func(c, s *mux.Stream) { s.Session().Close() }, &mux.SessionError{}},
		{"session closed by the other end", func(c, s *mux.Stream) { c.Session().CloseWithError(3, "why") },
			&mux.SessionError{Code: 3, Reason: "why", Remote: true}},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := sessions(t, link{}.pair)
				c, s := streamPair(t, client, server)
				x.end(c, s)
				synctest.Wait()
				got := s.Err()
				if x.want == nil || x.want == io.EOF {
					if got != x.want {
						t.Errorf("got %v, want %v", got, x.want)
					}
					return
				}
				wantErr(t, got, "use", x.want)
			})
		})
	}
}

// Streams carry sessions at any depth.
func TestNestedDeep(t *testing.T) {
	pair := tcpPair
	for range 4 {
		outer := pair
		pair = func(t testing.TB) (a, b net.Conn) { return nested(t, outer) }
	}
	client, server := sessions(t, pair)
	exchange(t, client, server, 5_000_000)
}
