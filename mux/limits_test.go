package mux_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// two are the ends of a session in a bubble. Streams are opened by the client.
type two struct {
	*testing.T
	client, server *mux.Session
	ctx            context.Context
}

// inBubble runs a test on both ends of a session, which writes as to TCP or as to TLS.
func inBubble(t *testing.T, cfg *mux.Config, test func(w *two)) {
	t.Helper()
	for _, direct := range []bool{true, false} {
		name := "copying"
		if direct {
			name = "direct"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, d := pipe.New(pipe.DefaultSize)
				a, b := watchPair(t, c, d)
				client, server := sessionsOn(t, a, b, cfg, cfg)
				if direct {
					mux.SetDirect(client)
					mux.SetDirect(server)
				}
				synctest.Wait()
				w := &two{t, client, server, context.Background()}
				w.check()
				test(w)
			})
		})
	}
}

// check checks the invariants of both ends, at rest.
func (w *two) check() {
	w.Helper()
	synctest.Wait()
	time.Sleep(5 * time.Millisecond) // opens have waited for data by then
	synctest.Wait()
	if err := mux.CheckPair(w.client, w.server); err != nil {
		w.Fatal(err)
	}
}

// pair opens a stream.
func (w *two) pair() (c, s *mux.Stream) {
	w.Helper()
	return streamPair(w, w.client, w.server)
}

func (w *two) open() *mux.Stream {
	w.Helper()
	c := begin(func() (*mux.Stream, error) { return w.client.Open(w.ctx) })
	time.Sleep(time.Millisecond) // the other end may allow it only when it sees others
	st, err := c.result(w)
	if err != nil {
		w.Fatal(err)
	}
	return st
}

func (w *two) accept() *mux.Stream {
	w.Helper()
	c := begin(func() (*mux.Stream, error) { return w.server.Accept(w.ctx) })
	time.Sleep(time.Millisecond)
	st, err := c.result(w)
	if err != nil {
		w.Fatal(err)
	}
	return st
}

// beginOpen begins an Open that has to wait.
func (w *two) beginOpen() *call[*mux.Stream] {
	w.Helper()
	c := begin(func() (*mux.Stream, error) { return w.client.Open(w.ctx) })
	c.wantBlocked(w)
	return c
}

func (w *two) wantUnread(s *mux.Session, want uint64) {
	w.Helper()
	synctest.Wait()
	if got := s.Stats().Unread; got != want {
		w.Errorf("%d bytes are unread, want %d", got, want)
	}
}

// A stream that nobody reads takes its window and no more, and the others don't notice.
func TestUnreadStream(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(w *two) {
		stuck, unread := w.pair()
		write := beginWrite(stuck, text(1<<20))
		write.wantBlocked(w)
		w.wantUnread(w.server, defaultWindow)
		if sent := w.client.Stats().Sent; sent != defaultWindow {
			w.Errorf("%d bytes were sent, want %d", sent, defaultWindow)
		}
		for range 20 {
			c, s := w.pair()
			bulk := beginWrite(c, text(1<<20))
			wantPattern(w, s, 0, 1<<20)
			bulk.want(w, 1<<20)
			c.Close()
			s.Close()
		}
		write.wantBlocked(w)
		w.wantUnread(w.server, defaultWindow)
		w.check()
		wantPattern(w, unread, 0, 1<<20)
		write.want(w, 1<<20)
		w.check()
	})
}

// All streams together take the session's window and no more. Credit comes as bytes are read or dropped, and goes to who
// waits.
func TestSessionWindow(t *testing.T) {
	t.Parallel()
	cfg := &mux.Config{Limits: mux.Limits{SessionWindow: 1 << 20}}
	inBubble(t, cfg, func(w *two) {
		var clients, servers []*mux.Stream
		var writes []*call[int]
		for range 40 {
			c, s := w.pair()
			clients, servers = append(clients, c), append(servers, s)
			writes = append(writes, beginWrite(c, text(defaultWindow)))
			synctest.Wait() // so that the first ones get the credit
		}
		done := 0
		for _, wr := range writes {
			if wr.returned() {
				done++
			}
		}
		if done != 16 {
			w.Errorf("%d Writes have returned, want 16", done)
		}
		w.wantUnread(w.server, 1<<20)
		w.check()

		// The other direction has limits of its own, and what has no payload needs none.
		beginWrite(servers[39], "back").want(w, 4)
		beginRead(clients[39], 10).want(w, "back")
		if _, err := begin(func() (time.Duration, error) { return w.client.Ping(w.ctx) }).result(w); err != nil {
			w.Error(err)
		}
		c, s := w.pair()
		c.Close()
		if _, err := beginRead(s, 1).result(w); err != io.EOF {
			w.Errorf("got %v, want EOF", err)
		}

		// Some streams are read, some are dropped.
		for i, s := range servers[:10] {
			if i%2 == 0 {
				wantPattern(w, s, 0, defaultWindow)
			} else {
				s.Close()
			}
		}
		done = 0
		for _, wr := range writes {
			if wr.returned() {
				done++
			}
		}
		if done < 24 || done > 26 { // half of the window comes at once
			w.Errorf("after 10 streams were taken off %d Writes have returned", done)
		}
		w.check()
		for i, s := range servers {
			if i >= 10 || i%2 == 0 {
				s.Close()
			}
		}
		for _, wr := range writes {
			wr.result(w)
		}
		w.wantUnread(w.server, 0)
		w.check()
	})
}

// Open waits at the limit until streams have ended and the acceptor has closed them, first come, first served or not.
func TestMaxStreams(t *testing.T) {
	cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 16}}
	inBubble(t, cfg, func(w *two) {
		var clients, servers []*mux.Stream
		for range 16 {
			c, s := w.pair()
			clients, servers = append(clients, c), append(servers, s)
		}
		waiting := []*call[*mux.Stream]{w.beginOpen(), w.beginOpen(), w.beginOpen()}
		ctx, cancel := context.WithCancel(w.ctx)
		cancelled := begin(func() (*mux.Stream, error) { return w.client.Open(ctx) })
		cancelled.wantBlocked(w)

		clients[0].Close() // one end is not enough
		waiting[0].wantBlocked(w)
		cancel()
		cancelled.wantErr(w, "open", context.Canceled)
		w.check()
		opened := func() (n int) {
			for _, c := range waiting {
				if c.returned() {
					if c.err != nil {
						w.Error(c.err)
					}
					n++
				}
			}
			return n
		}
		for i := range 3 {
			servers[i].Close()
			clients[i].Close()
			time.Sleep(time.Millisecond)
			if n := opened(); n != i+1 {
				w.Errorf("after %d streams were closed %d Opens have returned", i+1, n)
			}
			w.accept()
			w.check()
		}
		w.beginOpen()
		// The other direction has its own limit.
		for range 16 {
			streamPair(w, w.server, w.client)
		}
		w.check()
		w.client.Close()
	})
}

// Open waits while too many streams wait for Accept.
func TestAcceptBacklog(t *testing.T) {
	cfg := &mux.Config{Limits: mux.Limits{AcceptBacklog: 16}}
	inBubble(t, cfg, func(w *two) {
		for range 16 {
			w.open()
		}
		waiting := w.beginOpen()
		w.accept()
		if _, err := waiting.result(w); err != nil {
			w.Error(err)
		}
		w.beginOpen()
		for range 16 {
			w.accept()
		}
		w.accept() // that of beginOpen
		w.check()
		w.client.Close()
	})
}

// Streams that were reset before anybody accepted them are left out, and are no hindrance to others.
func TestResetBeforeAccept(t *testing.T) {
	cfg := &mux.Config{Limits: mux.Limits{AcceptBacklog: 16, MaxStreams: 16}}
	inBubble(t, cfg, func(w *two) {
		for range 15 {
			st := w.open()
			st.Reset(1)
			st.Close()
		}
		st := w.open()
		beginWrite(st, "hello").want(w, 5)
		time.Sleep(time.Millisecond)
		beginRead(w.accept(), 10).want(w, "hello")
		time.Sleep(time.Millisecond)
		for range 15 {
			w.open()
		}
		w.check()
	})
}

// Limits can be changed while they are in effect.
func TestSetLimits(t *testing.T) {
	t.Run("MaxStreams", func(t *testing.T) {
		inBubble(t, &mux.Config{Limits: mux.Limits{MaxStreams: 16}}, func(w *two) {
			var servers []*mux.Stream
			for range 16 {
				_, s := w.pair()
				servers = append(servers, s)
			}
			waiting := w.beginOpen()
			w.server.SetLimits(mux.Limits{MaxStreams: 17})
			if _, err := waiting.result(w); err != nil {
				w.Error(err)
			}
			servers = append(servers, w.accept())
			waiting = w.beginOpen()
			w.server.SetLimits(mux.Limits{MaxStreams: 100})
			if _, err := waiting.result(w); err != nil {
				w.Error(err)
			}
			servers = append(servers, w.accept())
			for range 60 {
				_, s := w.pair()
				servers = append(servers, s)
			}
			// Lower: what was allowed is not taken back, and from then on fewer come.
			w.server.SetLimits(mux.Limits{MaxStreams: 20})
			for range 22 {
				_, s := w.pair()
				servers = append(servers, s)
			}
			waiting = w.beginOpen()
			for i, s := range servers {
				s.Reset(0)
				s.Close()
				time.Sleep(time.Millisecond)
				if open := len(servers) - i - 1; waiting.returned() != (open < 20) {
					w.Fatalf("with %d streams open, a waiting Open has returned: %v", open, waiting.returned())
				}
			}
			w.check()
		})
	})
	t.Run("AcceptBacklog", func(t *testing.T) {
		inBubble(t, &mux.Config{Limits: mux.Limits{AcceptBacklog: 16}}, func(w *two) {
			for range 16 {
				w.open()
			}
			waiting := w.beginOpen()
			w.server.SetLimits(mux.Limits{AcceptBacklog: 18})
			if _, err := waiting.result(w); err != nil {
				w.Error(err)
			}
			w.open()
			w.beginOpen()
			w.check()
			w.client.Close()
		})
	})
	t.Run("SessionWindow", func(t *testing.T) {
		inBubble(t, &mux.Config{Limits: mux.Limits{SessionWindow: 1 << 20}}, func(w *two) {
			for range 16 {
				c, _ := w.pair()
				beginWrite(c, text(defaultWindow)).want(w, defaultWindow)
			}
			c, s := w.pair()
			write := beginWrite(c, text(1000))
			write.wantBlocked(w)
			w.server.SetLimits(mux.Limits{SessionWindow: 2 << 20})
			write.want(w, 1000)
			wantPattern(w, s, 0, 1000)
			w.check()

			// Lower: what is unread is kept, and more comes only when it is less.
			w.server.SetLimits(mux.Limits{SessionWindow: 1 << 20})
			for range 15 {
				c, _ := w.pair()
				beginWrite(c, text(defaultWindow)).want(w, defaultWindow)
			}
			c, _ = w.pair()
			write = beginWrite(c, text(defaultWindow))
			write.wantBlocked(w)
			w.check()
		})
	})
	t.Run("MaxStreamWindow", func(t *testing.T) {
		lowered(t, mux.Limits{MaxStreamWindow: 128 << 10}, func(st *mux.Stream, sum uint64) error {
			if got := st.Window(); got > 128<<10 {
				return fmt.Errorf("a window is %d, want at most 128 KiB", got)
			}
			return nil
		})
	})
	t.Run("SessionWindow, of windows that have grown", func(t *testing.T) {
		lowered(t, mux.Limits{SessionWindow: 2 << 20}, func(_ *mux.Stream, sum uint64) error {
			if most := uint64(1<<20 + 4*defaultWindow); sum > most {
				return fmt.Errorf("all windows are %d, want at most %d", sum, most)
			}
			return nil
		})
	})
	t.Run("of what is not to be changed", func(t *testing.T) {
		inBubble(t, nil, func(w *two) {
			w.server.SetLimits(mux.Limits{StreamWindow: 1 << 20})
			c, _ := w.pair()
			beginWrite(c, text(1<<20)).wantBlocked(w)
			w.wantUnread(w.server, defaultWindow)
			w.check()
		})
	})
}

// lowered has windows grow, on streams that are read fast all the time, lowers the limits, and wants them to be kept soon.
func lowered(t *testing.T, lower mux.Limits, kept func(st *mux.Stream, sum uint64) error) {
	synctest.Test(t, func(t *testing.T) {
		a, b := link{delay: 50 * time.Millisecond}.pair(t)
		a, b = watchPair(t, a, b)
		client, server := sessionsOn(t, a, b, nil, &mux.Config{Limits: mux.Limits{MaxStreamWindow: 1 << 20}})
		var streams []*mux.Stream
		for range 4 {
			c, s := streamPair(t, client, server)
			go writeOn(c)
			go readOn(s)
			streams = append(streams, s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if kept(streams[0], server.WindowSum()) == nil {
			t.Fatalf("windows have not grown: %d in all", server.WindowSum())
		}
		server.SetLimits(lower)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, st := range streams {
			if err := kept(st, server.WindowSum()); err != nil {
				t.Error(err)
			}
		}
		if err := server.Check(); err != nil {
			t.Error(err)
		}
		client.Close()
	})
}

// A window grows to what the path needs, and shrinks when it isn't needed any more.
func TestWindowGrows(t *testing.T) {
	t.Parallel()
	roundTrips, large, largest := 20, 1<<20, 2<<20
	if long() {
		roundTrips, large, largest = 40, 4<<20, 16<<20
	}
	for _, x := range []struct {
		name   string
		limits mux.Limits
		rtt    time.Duration
		rate   int // of the reader: what it takes in a second
		least  int // the window is in the end
		most   int
	}{
		{"long path", mux.Limits{MaxStreamWindow: largest}, 100 * time.Millisecond, math.MaxInt32, largest, largest},
		{"very long path", mux.Limits{MaxStreamWindow: large}, 600 * time.Millisecond, math.MaxInt32, large, large},
		{"limited", mux.Limits{MaxStreamWindow: 1 << 20}, 100 * time.Millisecond, math.MaxInt32, 1 << 20, 1 << 20},
		{"limited to its first", mux.Limits{MaxStreamWindow: 1}, 100 * time.Millisecond, math.MaxInt32, 64 << 10, 64 << 10},
		{"limited in sum", mux.Limits{SessionWindow: 4 << 20}, 100 * time.Millisecond, math.MaxInt32, 1 << 20, 2<<20 + 64<<10},
		{"slow reader", mux.Limits{}, 100 * time.Millisecond, 100 << 10, 64 << 10, 64 << 10},
		{"reader of 10 MB/s", mux.Limits{}, 100 * time.Millisecond, 10e6, 1 << 20, 8 << 20},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := link{delay: x.rtt / 2}.pair(t)
				a, b = watchPair(t, a, b)
				client, server := sessionsOn(t, a, b, nil, &mux.Config{Limits: x.limits})
				c, s := streamPair(t, client, server)
				if got := s.Window(); got != defaultWindow {
					t.Errorf("the first window is %d, want %d", got, defaultWindow)
				}
				write := begin(func() (int, error) { return writeOn(c) })
				read := 0
				for range roundTrips {
					read += readFor(t, s, x.rtt, x.rate)
				}
				grown := s.Window()
				if grown < x.least || grown > x.most {
					t.Errorf("after %d round trips the window is %d, want %d to %d", roundTrips, grown, x.least, x.most)
				}
				if unread := server.Stats().Unread; unread > uint64(grown) {
					t.Errorf("%d bytes are unread with a window of %d", unread, grown)
				}
				if err := server.Check(); err != nil {
					t.Error(err)
				}
				for i := 0; i < 60 && s.Window() > defaultWindow; i++ {
					read += readFor(t, s, time.Minute, 10_000)
				}
				if got := s.Window(); got != defaultWindow {
					t.Errorf("with a slow reader, a window of %d is %d, want %d", grown, got, defaultWindow)
				}
				c.SetDeadline(time.Unix(1, 0))
				if _, err := write.result(t); err == nil {
					t.Error("Write has no error")
				}
			})
		})
	}
}

// readFor reads for some time, at a rate in bytes a second, and returns how much.
func readFor(t *testing.T, st *mux.Stream, d time.Duration, rate int) (total int) {
	t.Helper()
	buf := make([]byte, max(1, min(64<<10, int(float64(rate)*d.Seconds()/4))))
	end := time.Now().Add(d)
	st.SetReadDeadline(end)
	defer st.SetReadDeadline(time.Time{})
	for time.Now().Before(end) {
		n, err := st.Read(buf)
		total += n
		if os.IsTimeout(err) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(float64(n) / float64(rate) * 1e9))
	}
	return total
}

// Windows of many streams grow as far as all of them together may, and what one gives back others can have.
func TestWindowsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const streams = 8
		a, b := link{delay: 50 * time.Millisecond}.pair(t)
		a, b = watchPair(t, a, b)
		client, server := sessionsOn(t, a, b, nil, &mux.Config{Limits: mux.Limits{SessionWindow: 8 << 20}})
		var ends []*mux.Stream
		for range streams {
			c, s := streamPair(t, client, server)
			go writeOn(c)
			go readOn(s)
			ends = append(ends, s)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if sum, most := server.WindowSum(), uint64(4<<20+streams*defaultWindow); sum > most || sum < most/2 {
			t.Errorf("all windows are %d, want at most %d and at least half of that", sum, most)
		}
		for _, st := range ends[1:] {
			st.Reset(0)
			st.Close()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := ends[0].Window(); got < 4<<20 {
			t.Errorf("the window of the last stream is %d, want 4 MiB or more", got)
		}
		client.Close()
	})
}

// One frame that allows several streams lets several Opens go on, and several opens at once are for several Accepts.
func TestSeveralWait(t *testing.T) {
	bare(t, nil, carrierSize, func(t *testing.T, p *peer) {
		p.greet()
		for i := range 16 {
			p.open(i + 1)
		}
		var opens, accepts []*call[*mux.Stream]
		for range 5 {
			opens = append(opens, begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) }))
			accepts = append(accepts, begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) }))
		}
		opens[0].wantBlocked(t)
		p.write(fStreams(20), fOpen(p.mine(1)), fOpen(p.mine(2)), fOpen(p.mine(3)), fOpen(p.mine(4)))
		for name, calls := range map[string][]*call[*mux.Stream]{"Open": opens, "Accept": accepts} {
			n := 0
			for _, c := range calls {
				if c.returned() && c.err == nil {
					n++
				}
			}
			if n != 4 {
				t.Errorf("%d calls of %s have returned, want 4", n, name)
			}
		}
		p.check()
	})
}

// Credit of the session that a Write has taken and not used, since it was interrupted, goes to the next who waits for it.
func TestCreditReturned(t *testing.T) {
	bare(t, nil, smallCarrier, func(t *testing.T, p *peer) {
		p.greet(helloCredit, 1<<20, helloLimit, 1<<20, helloStreams, 100)
		var writers []*mux.Stream
		var writes []*call[int]
		for range 10 {
			st := p.begin()
			writers = append(writers, st)
			writes = append(writes, beginWrite(st, text(maxFrame)))
			synctest.Wait()
		}
		p.check()
		last := 0 // that waits for the carrier
		for i, w := range writes {
			if !w.returned() {
				last = max(last, i)
			}
		}
		if n := p.s.Starved(); n == 0 || last != 9 {
			t.Fatalf("%d Writes wait for credit, the last of all is %d", n, last)
		}
		starved := p.s.Starved()
		victim := 9 - starved // the last that has credit
		writers[victim].SetWriteDeadline(time.Unix(1, 0))
		n, err := writes[victim].result(t)
		wantErr(t, err, "write", os.ErrDeadlineExceeded)
		if n != 0 {
			t.Fatalf("%d bytes were written; the Write is not one that waits", n)
		}
		if got := p.s.Starved(); got != starved-1 {
			t.Errorf("%d Writes wait for credit, want %d", got, starved-1)
		}
		p.check()
		total := 0
		for _, f := range p.drain() {
			total += len(f.payload)
		}
		if total != 1<<20 {
			t.Errorf("%d bytes have come, want all that were allowed", total)
		}
	})
}
