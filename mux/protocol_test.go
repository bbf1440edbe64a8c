package mux_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// Hello comes first, and has the limits.
func TestHello(t *testing.T) {
	for _, x := range []struct {
		name string
		cfg  *mux.Config
		want frame
	}{
		{"default", nil, fHello(helloCredit, 64<<10, helloLimit, 32<<20, helloStreams, 1024)},
		{"given", &mux.Config{Limits: mux.Limits{StreamWindow: 100_000, SessionWindow: 5_000_000, MaxStreams: 77, AcceptBacklog: 100}},
			fHello(helloCredit, 100_000, helloLimit, 5_000_000, helloStreams, 77)},
		{"backlog", &mux.Config{Limits: mux.Limits{MaxStreams: 77, AcceptBacklog: 33}},
			fHello(helloCredit, 64<<10, helloLimit, 32<<20, helloStreams, 33)},
		{"too low", &mux.Config{Limits: mux.Limits{StreamWindow: 1, MaxStreamWindow: 1, SessionWindow: 1, MaxStreams: 1, AcceptBacklog: 1}},
			fHello(helloCredit, 64<<10, helloLimit, 1<<20, helloStreams, 16)},
		{"negative", &mux.Config{Limits: mux.Limits{StreamWindow: -1, MaxStreamWindow: -1, SessionWindow: -1, MaxStreams: -1, AcceptBacklog: -1}},
			fHello(helloCredit, 64<<10, helloLimit, 1<<20, helloStreams, 16)},
		{"huge", &mux.Config{Limits: mux.Limits{StreamWindow: math.MaxInt, SessionWindow: 1, MaxStreams: math.MaxInt - 1, AcceptBacklog: math.MaxInt}},
			fHello(helloCredit, 1<<31-1, helloLimit, 1<<31-1, helloStreams, math.MaxInt-1)},
	} {
		t.Run(x.name, func(t *testing.T) {
			bare(t, x.cfg, carrierSize, func(t *testing.T, p *peer) {
				want := x.want
				want.payload += uint64s([]uint64{helloData, mostFrame})
				p.want(want, fPing(1))
				p.wantNothing()
			})
		})
	}
}

// Before the other end's hello is there, its limits are those that nobody goes below. When it comes, what waits goes on.
func TestBeforeHello(t *testing.T) {
	bare(t, nil, 4<<20, func(t *testing.T, p *peer) {
		p.wantHello()
		p.want(fPing(1))
		var writes []*call[int]
		for i := range 16 {
			st, err := p.s.Open(p.ctx)
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, beginWrite(st, text(100_000)))
			p.want(fOpen(p.its(i + 1)))
			p.wantData(st.ID(), text(64<<10), false)
		}
		open := begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) })
		open.wantBlocked(t)
		for _, w := range writes {
			w.wantBlocked(t)
		}
		p.wantNothing()
		p.check()

		// More for each stream, but not for all together, does not help.
		p.write(fHello(helloCredit, 80_000))
		p.wantNothing()
		p.write(fLimit(1<<20 + 16*80_000))
		rest := make(map[uint64]int)
		for range 16 {
			f := p.read()
			if f.kind != data {
				t.Fatalf("got %v, want data", f)
			}
			rest[f.id] += len(f.payload)
		}
		for i := range 16 {
			if got := rest[p.its(i+1)]; got != 80_000-64<<10 {
				t.Errorf("stream %d: got %d bytes more, want %d", p.its(i+1), got, 80_000-64<<10)
			}
		}
		p.wantNothing()
		for i, w := range writes {
			w.wantBlocked(t)
			p.write(fCredit(p.its(i+1), 100_000))
			p.read()
			w.want(t, 100_000)
		}
		open.wantBlocked(t)
		p.write(fStreams(17))
		if st, err := open.result(t); err != nil || st.ID() != p.its(17) {
			t.Errorf("got %v, %v; want stream %d", st, err, p.its(17))
		}
		p.want(fOpen(p.its(17)))
		p.wantAlive()
	})
}

// Settings of hello that are unknown, lower than the least, or there twice do no harm.
func TestHelloSettings(t *testing.T) {
	bare(t, nil, carrierSize, func(t *testing.T, p *peer) {
		p.greet(99, 1, helloCredit, 10, helloLimit, 10, helloStreams, 3, helloCredit, 70_000, helloCredit, 60_000, 1<<64-1, 1<<64-1)
		st := p.open(1)
		w := beginWrite(st, text(100_000))
		p.wantData(st.ID(), text(70_000), false)
		w.wantBlocked(t)
		for i := range 15 {
			p.open(i + 2)
		}
		begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) }).wantBlocked(t)
		p.wantAlive()
	})
	bare(t, nil, carrierSize, func(t *testing.T, p *peer) { // as large as can be
		p.greet(helloCredit, 1<<64-1, helloLimit, 1<<64-1, helloStreams, 1<<64-1)
		st := p.open(1)
		beginWrite(st, text(200_000)).want(t, 200_000)
		p.wantData(st.ID(), text(200_000), false)
		p.write(fLimit(1), fStreams(1), fCredit(st.ID(), 1)) // no effect
		beginWrite(st, "x").want(t, 1)
		p.want(fData(st.ID(), "x"))
		p.wantAlive()
	})
}

// An open waits a moment for data, which goes right behind it.
func TestOpenRides(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st, err := p.s.Open(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		beginWrite(st, "hello").want(t, 5)
		p.want(fOpen(st.ID()), fData(st.ID(), "hello"))
		if took := time.Since(began); took != 0 {
			t.Errorf("open and data took %v", took)
		}
		if st, err = p.s.Open(p.ctx); err != nil {
			t.Fatal(err)
		}
		p.want(fOpen(st.ID()))
		if took := time.Since(began); took == 0 || took > time.Millisecond {
			t.Errorf("an open alone took %v", took)
		}
		p.wantAlive()
	})
}

// A stream that the session opens: data to and fro, and each direction ends by itself.
func TestOpenedStream(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		beginWrite(st, "request").want(t, 7)
		p.want(fData(st.ID(), "request"))
		beginErr(st.CloseWrite).result(t)
		p.want(fFin(st.ID()))
		_, err := beginWrite(st, "more").result(t)
		wantErr(t, err, "write", net.ErrClosed)
		beginErr(st.CloseWrite).want(t, struct{}{}) // once more

		read := beginRead(st, 100)
		read.wantBlocked(t)
		p.write(fData(st.ID(), "ans"))
		read.want(t, "ans")
		p.write(fData(st.ID(), "w"), fData(st.ID(), ""), fLast(st.ID(), "er"))
		synctest.Wait()
		beginRead(st, 2).want(t, "we")
		if n := p.s.NumStreams(); n != 0 {
			t.Errorf("both directions have ended, and NumStreams is %d", n)
		}
		beginRead(st, 2).want(t, "r")
		for range 2 {
			if _, err := beginRead(st, 2).result(t); err != io.EOF {
				t.Errorf("at the end: got %v, want EOF", err)
			}
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		_, err = beginRead(st, 2).result(t)
		wantErr(t, err, "read", net.ErrClosed)
		p.wantNothing()
		p.wantAlive()
	})
}

// A stream that the peer opens.
func TestAcceptedStream(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		accept := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) })
		accept.wantBlocked(t)
		p.write(fOpen(p.mine(1)), fLast(p.mine(1), "request"), fOpen(p.mine(2)))
		st, err := accept.result(t)
		if err != nil || st.ID() != p.mine(1) {
			t.Fatalf("got %v, %v; want stream %d", st, err, p.mine(1))
		}
		if st.Session() != p.s {
			t.Error("the stream is of another session")
		}
		if n := p.s.NumStreams(); n != 2 {
			t.Errorf("NumStreams is %d, want 2", n)
		}
		got, err := begin(func() ([]byte, error) { return io.ReadAll(st) }).result(t)
		if string(got) != "request" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		beginWrite(st, "answer").want(t, 6)
		st.Close()
		p.want(fData(st.ID(), "answer"), fFin(st.ID()))
		if n := p.s.NumStreams(); n != 1 {
			t.Errorf("NumStreams is %d, want 1", n)
		}
		other, err := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) }).result(t)
		if err != nil || other.ID() != p.mine(2) {
			t.Fatalf("got %v, %v; want stream %d", other, err, p.mine(2))
		}
		p.wantAlive()
	})
}

// Close of a stream ends both directions: fin, and stop unless the other end has ended its direction.
func TestStreamClose(t *testing.T) {
	for _, x := range []struct {
		name   string
		before func(p *peer, st *mux.Stream) // frames of the peer, calls on the stream
		want   func(p *peer, id uint64) []frame
		after  func(id uint64) []frame // the peer's end
	}{
		{"open", func(*peer, *mux.Stream) {},
			func(p *peer, id uint64) []frame { return []frame{fFin(id), fStop(id, 0)} },
			func(id uint64) []frame { return []frame{fReset(id, 0)} }},
		{"open, fin crosses", func(*peer, *mux.Stream) {},
			func(p *peer, id uint64) []frame { return []frame{fFin(id), fStop(id, 0)} },
			func(id uint64) []frame { return []frame{fData(id, "late"), fLast(id, "later")} }},
		{"unread data", func(p *peer, st *mux.Stream) { p.write(fData(st.ID(), text(1000))) },
			func(p *peer, id uint64) []frame { return []frame{fFin(id), fStop(id, 0)} },
			func(id uint64) []frame { return []frame{fFin(id)} }},
		{"after fin", func(p *peer, st *mux.Stream) { p.write(fLast(st.ID(), "unread")) },
			func(p *peer, id uint64) []frame { return []frame{fFin(id)} }, nil},
		{"after reset", func(p *peer, st *mux.Stream) { p.write(fReset(st.ID(), 9)) },
			func(p *peer, id uint64) []frame { return []frame{fFin(id)} }, nil},
		{"after stop", func(p *peer, st *mux.Stream) { p.write(fStop(st.ID(), 9)); p.want(fReset(st.ID(), 9)) },
			func(p *peer, id uint64) []frame { return []frame{fStop(id, 0)} },
			func(id uint64) []frame { return []frame{fReset(id, 0)} }},
		{"after CloseWrite", func(p *peer, st *mux.Stream) { st.CloseWrite(); p.want(fFin(st.ID())) },
			func(p *peer, id uint64) []frame { return []frame{fStop(id, 0)} },
			func(id uint64) []frame { return []frame{fFin(id)} }},
		{"after CloseRead", func(p *peer, st *mux.Stream) { st.CloseRead(); p.want(fStop(st.ID(), 0)) },
			func(p *peer, id uint64) []frame { return []frame{fFin(id)} },
			func(id uint64) []frame { return []frame{fReset(id, 0)} }},
		{"after Reset", func(p *peer, st *mux.Stream) { st.Reset(5); p.want(fReset(st.ID(), 5), fStop(st.ID(), 5)) },
			func(p *peer, id uint64) []frame { return nil },
			func(id uint64) []frame { return []frame{fReset(id, 5)} }},
		{"after everything", func(p *peer, st *mux.Stream) {
			p.write(fStop(st.ID(), 9), fReset(st.ID(), 9))
			p.want(fReset(st.ID(), 9))
		}, func(p *peer, id uint64) []frame { return nil }, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			script(t, nil, func(t *testing.T, p *peer) {
				for i, get := range []func() *mux.Stream{func() *mux.Stream { return p.open(1) }, func() *mux.Stream { return p.accept(1) }} {
					st := get()
					x.before(p, st)
					synctest.Wait()
					if err := st.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
					p.want(x.want(p, st.ID())...)
					_, err := beginRead(st, 10).result(t)
					wantErr(t, err, "read", net.ErrClosed)
					_, err = beginWrite(st, "x").result(t)
					wantErr(t, err, "write", net.ErrClosed)
					if x.after != nil {
						if n := p.s.NumStreams(); n != 1 {
							t.Errorf("stream %d: before the peer's end NumStreams is %d, want 1", i, n)
						}
						p.write(x.after(st.ID())...)
						synctest.Wait()
					}
					if n := p.s.NumStreams(); n != 0 {
						t.Errorf("stream %d: at the end NumStreams is %d, want 0", i, n)
					}
					p.wantNothing()
					p.wantAlive()
				}
			})
		})
	}
}

// What Read and Write return after resets and stops by either end.
func TestStreamErrors(t *testing.T) {
	for _, x := range []struct {
		name        string
		do          func(p *peer, st *mux.Stream)
		frames      func(id uint64) []frame // of the session
		read, write error                   // nil if it still works
	}{
		{"Reset", func(p *peer, st *mux.Stream) { st.Reset(1 << 63) },
			func(id uint64) []frame { return []frame{fReset(id, 1<<63), fStop(id, 1<<63)} },
			net.ErrClosed, &mux.StreamError{Code: 1 << 63}},
		{"Reset twice", func(p *peer, st *mux.Stream) { st.Reset(1); st.Reset(2) },
			func(id uint64) []frame { return []frame{fReset(id, 1), fStop(id, 1)} },
			net.ErrClosed, &mux.StreamError{Code: 1}},
		{"reset by the peer", func(p *peer, st *mux.Stream) { p.write(fReset(st.ID(), 7)) },
			nil, &mux.StreamError{Code: 7, Remote: true}, nil},
		{"reset by the peer with unread data", func(p *peer, st *mux.Stream) { p.write(fData(st.ID(), "unread"), fReset(st.ID(), 7)) },
			nil, &mux.StreamError{Code: 7, Remote: true}, nil},
		{"stop by the peer", func(p *peer, st *mux.Stream) { p.write(fStop(st.ID(), 8)) },
			func(id uint64) []frame { return []frame{fReset(id, 8)} },
			nil, &mux.StreamError{Code: 8, Remote: true, Stop: true}},
		{"stop twice", func(p *peer, st *mux.Stream) { p.write(fStop(st.ID(), 8), fStop(st.ID(), 9)) },
			func(id uint64) []frame { return []frame{fReset(id, 8)} },
			nil, &mux.StreamError{Code: 8, Remote: true, Stop: true}},
		{"stop after fin", func(p *peer, st *mux.Stream) { st.CloseWrite(); p.write(fStop(st.ID(), 8)) },
			func(id uint64) []frame { return []frame{fFin(id)} },
			nil, net.ErrClosed},
		{"both by the peer", func(p *peer, st *mux.Stream) { p.write(fReset(st.ID(), 7), fStop(st.ID(), 8)) },
			func(id uint64) []frame { return []frame{fReset(id, 8)} },
			&mux.StreamError{Code: 7, Remote: true}, &mux.StreamError{Code: 8, Remote: true, Stop: true}},
		{"CloseWrite, then Reset", func(p *peer, st *mux.Stream) { st.CloseWrite(); st.Reset(3) },
			func(id uint64) []frame { return []frame{fFin(id), fStop(id, 3)} },
			net.ErrClosed, net.ErrClosed},
		{"CloseRead", func(p *peer, st *mux.Stream) { st.CloseRead(); st.CloseRead() },
			func(id uint64) []frame { return []frame{fStop(id, 0)} },
			net.ErrClosed, nil},
		{"CloseWrite", func(p *peer, st *mux.Stream) { st.CloseWrite() },
			func(id uint64) []frame { return []frame{fFin(id)} },
			nil, net.ErrClosed},
		{"fin", func(p *peer, st *mux.Stream) { p.write(fFin(st.ID())) }, nil, io.EOF, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			script(t, nil, func(t *testing.T, p *peer) {
				for _, get := range []func() *mux.Stream{func() *mux.Stream { return p.open(1) }, func() *mux.Stream { return p.accept(1) }} {
					st := get()
					// One Read and one Write that wait, and then others: all fail alike. The Write waits for credit.
					id := st.ID()
					beginWrite(st, text(defaultWindow)).want(t, defaultWindow)
					p.wantData(id, text(defaultWindow), false)
					read, write := beginRead(st, 1), beginWrite(st, "more")
					read.wantBlocked(t)
					write.wantBlocked(t)
					x.do(p, st)
					if x.frames != nil {
						p.want(x.frames(id)...)
					}
					p.wantNothing()
					for range 2 {
						if x.read == nil {
							read.wantBlocked(t)
							p.write(fData(id, "x"))
							read.want(t, "x")
						} else if !strings.Contains(x.name, "unread") || read.returned() && read.err != nil {
							_, err := read.result(t)
							wantErr(t, err, "read", x.read)
						} else {
							read.want(t, "u") // it was quicker than the reset
						}
						if x.write == nil {
							write.wantBlocked(t)
							p.write(fCredit(id, 1<<20))
							p.want(fData(id, "more"))
							write.want(t, 4)
						} else {
							n, err := write.result(t)
							wantErr(t, err, "write", x.write)
							if n != 0 {
								t.Errorf("Write: got %d, want 0", n)
							}
						}
						if x.read == nil {
							p.write(fData(id, "x"))
							synctest.Wait()
							beginRead(st, 1).want(t, "x")
						} else {
							read = beginRead(st, 1)
						}
						if x.write == nil {
							beginWrite(st, "y").want(t, 1)
							p.want(fData(id, "y"))
						} else {
							write = beginWrite(st, "y")
						}
						if x.read == nil || x.write == nil {
							break
						}
					}
					p.wantAlive()
					st.Close()
					synctest.Wait()
					p.drain()
				}
			})
		})
	}
}

// drain takes what the session has sent so far.
func (p *peer) drain() (all []frame) {
	p.Helper()
	for {
		f, err := p.tryRead(time.Millisecond)
		if err != nil {
			return all
		}
		all = append(all, f)
	}
}

// A large Write goes in frames of the largest size, and an empty one in none.
func TestFrameSizes(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		p.write(fCredit(st.ID(), 1<<20))
		synctest.Wait()
		beginWrite(st, "").want(t, 0)
		p.wantNothing()
		for _, size := range []int{1, 1000, 8 << 10, 8<<10 + 1, maxFrame - 1, maxFrame, maxFrame + 1, 3*maxFrame + 5} {
			w := beginWrite(st, text(size))
			if frames, want := p.wantData(st.ID(), text(size), false), (size+maxFrame-1)/maxFrame; frames != want {
				t.Errorf("a Write of %d bytes was %d frames, want %d", size, frames, want)
			}
			w.want(t, size)
		}
		p.wantAlive()

		// And the peer may send frames of any size, one by one or at once.
		p.wantAlive()
		for _, size := range []int{0, 1, 1000, 1024, 1025, 16 << 10, 30 << 10} {
			read := beginRead(st, 100_000)
			read.wantBlocked(t)
			p.write(fData(st.ID(), text(size)))
			if size > 0 {
				got, err := read.result(t)
				if err != nil || !strings.HasPrefix(text(size), got) || got == "" {
					t.Fatalf("got %d bytes, %v; want some of %d", len(got), err, size)
				}
				wantPattern(t, st, len(got), size-len(got))
			} else {
				read.wantBlocked(t)
				p.write(fData(st.ID(), "x"))
				read.want(t, "x")
			}
			p.drain() // credit
		}
	})
}

// Credit for a stream comes when half of its window was read, credit for all when half of what is free of theirs was used.
func TestCredit(t *testing.T) {
	cfg := &mux.Config{Limits: mux.Limits{StreamWindow: 200_000, SessionWindow: 1 << 20}}
	script(t, cfg, func(t *testing.T, p *peer) {
		st := p.accept(1)
		id := st.ID()
		p.write(fData(id, text(100_000)), fData(id, text(100_000)))
		synctest.Wait()
		p.wantNothing()
		wantPattern(t, st, 0, 99_999)
		p.wantNothing()
		wantPattern(t, st, 99_999, 1)
		p.want(fCredit(id, 300_000))
		wantPattern(t, st, 0, 100_000)
		p.want(fCredit(id, 400_000))
		p.wantNothing()
		p.write(fData(id, text(100_000)), fData(id, text(100_000)))
		wantPattern(t, st, 0, 100_000)
		p.want(fCredit(id, 500_000))
		wantPattern(t, st, 0, 100_000)
		p.want(fCredit(id, 600_000))

		// What is dropped counts too, but only for all streams together.
		p.write(fData(id, text(100_000)))
		synctest.Wait()
		st.CloseRead()
		p.want(fStop(id, 0))
		p.write(fData(id, text(100_000)))
		const sent, window = 600_000, 1 << 20
		if f := p.read(); f.kind != limit || f.id-window < window-sent || f.id > window+sent {
			t.Errorf("got %v, want half of what is free of the session's window", f)
		}
		p.wantNothing()
		p.wantAlive()
	})
}

// Opens are granted again when streams of the peer have ended and were closed.
func TestStreamsGranted(t *testing.T) {
	cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 20}}
	script(t, cfg, func(t *testing.T, p *peer) {
		var accepted []*mux.Stream
		for i := range 20 {
			accepted = append(accepted, p.accept(i+1, fFin(p.mine(i+1))))
		}
		p.wantNothing()
		accepted[7].CloseWrite()
		p.want(fFin(accepted[7].ID()))
		p.wantNothing() // it has ended, but somebody may still be at work for it
		accepted[7].Close()
		p.want(fStreams(21))
		for i := range 5 {
			accepted[i].Close()
			p.want(fFin(accepted[i].ID()))
		}
		p.want(fStreams(26)) // not one by one: it was 21, and one more was left to open
		p.wantNothing()
		p.wantAlive()
	})
}

// Pings are answered, also with what looks like nonsense.
func TestPings(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		p.write(fPing(0), fPing(1<<64-1), fPing(5), fPing(5))
		p.want(fPong(0), fPong(1<<64-1), fPong(5), fPong(5))
		rtt := begin(func() (time.Duration, error) { return p.s.Ping(p.ctx) })
		p.want(fPing(2))
		time.Sleep(123 * time.Millisecond)
		rtt.wantBlocked(t)
		p.write(fPong(1), fPong(3)) // answers to nothing
		rtt.wantBlocked(t)
		p.write(fPong(2))
		rtt.want(t, 123*time.Millisecond)
		if got := p.s.RTT(); got != 123*time.Millisecond {
			t.Errorf("RTT is %v, want 123ms", got)
		}
		ctx, cancel := context.WithCancel(p.ctx)
		rtt = begin(func() (time.Duration, error) { return p.s.Ping(ctx) })
		p.want(fPing(3))
		cancel()
		_, err := rtt.result(t)
		wantErr(t, err, "ping", context.Canceled)
		p.write(fPong(3))
		p.wantAlive()
	})
}

// After goaway no streams are opened, and those that are there go on.
func TestGoAway(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		for i := range 1023 {
			p.open(i + 2)
		}
		waiting := begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) })
		waiting2 := begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) })
		waiting.wantBlocked(t)
		p.write(fGoAway(), fStreams(5000), fGoAway())
		for _, w := range []*call[*mux.Stream]{waiting, waiting2, begin(func() (*mux.Stream, error) { return p.s.Open(p.ctx) })} {
			_, err := w.result(t)
			wantErr(t, err, "open", mux.ErrGoAway)
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v is not net.ErrClosed", err)
			}
		}
		beginWrite(st, "still").want(t, 5)
		p.want(fData(st.ID(), "still"))
		in := p.accept(1, fData(p.mine(1), "there"))
		beginRead(in, 10).want(t, "there")
		p.wantAlive()
	})
}

// Close tells the other end and closes the carrier when that has closed it.
func TestSessionClose(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		beginWrite(st, "last words").want(t, 10)
		st.CloseWrite()
		closed := beginErr(func() error { return p.s.CloseWithError(1<<60, "that's all") })
		synctest.Wait()
		again := beginErr(p.s.Close)
		p.want(fData(st.ID(), "last words"), fFin(st.ID()), fClose(1<<60, "that's all"))
		p.wantEOF()
		closed.wantBlocked(t)
		again.wantBlocked(t)
		p.write(fData(st.ID(), "too late"), fPing(77)) // dropped, and not answered
		p.conn.Close()
		closed.want(t, struct{}{})
		again.want(t, struct{}{})
		cause := &mux.SessionError{Code: 1 << 60, Reason: "that's all"}
		if err := p.s.Err(); !errors.Is(err, cause) || err.Error() != "session was closed: that's all (code 1152921504606846976)" {
			t.Errorf("Err: got %v", err)
		}
		if err := p.s.Close(); err != nil {
			t.Errorf("another Close: %v", err)
		}
		_, err := p.s.Open(p.ctx)
		wantErr(t, err, "open", cause)
		_, err = p.s.Accept(p.ctx)
		wantErr(t, err, "accept", cause)
		_, err = p.s.Ping(p.ctx)
		wantErr(t, err, "ping", cause)
		_, err = st.Read(make([]byte, 10))
		wantErr(t, err, "read", cause)
	})
}

// An end that does not take part in the end is left after a second.
func TestSessionCloseAlone(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		began := time.Now()
		if err := p.s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, want a second", took)
		}
		p.want(fClose(0, ""))
		p.wantEOF()
	})
}

// The other end's close ends everything, with its reason, and is answered by the end of the carrier.
func TestClosedByPeer(t *testing.T) {
	for _, x := range []struct {
		name  string
		frame frame
		want  *mux.SessionError
		text  string
	}{
		{"plain", fClose(0, ""), &mux.SessionError{Remote: true}, "session was closed by the other end"},
		{"reason", fClose(42, "done here"), &mux.SessionError{Code: 42, Reason: "done here", Remote: true},
			"session was closed by the other end: done here (code 42)"},
		{"protocol", fProtocol(codeFlood, "calm down"), &mux.SessionError{Code: codeFlood, Reason: "calm down", Remote: true, Protocol: true},
			"session was closed by the other end: calm down (code 6)"},
		{"quotes", fClose(1, `it's "over" \o/ αβ`), &mux.SessionError{Code: 1, Reason: `it's "over" \o/ αβ`, Remote: true},
			`session was closed by the other end: it's "over" \o/ αβ (code 1)`},
		{"not to be printed", fClose(1, "a\x1b[31m\nb\xff"), &mux.SessionError{Code: 1, Reason: "a\x1b[31m\nb\xff", Remote: true},
			`session was closed by the other end: a\x1b[31m\nb\xff (code 1)`},
		{"long", fClose(1, strings.Repeat("x", 1024)), &mux.SessionError{Code: 1, Reason: strings.Repeat("x", 1024), Remote: true},
			"session was closed by the other end: " + strings.Repeat("x", 1024) + " (code 1)"},
	} {
		t.Run(x.name, func(t *testing.T) {
			script(t, nil, func(t *testing.T, p *peer) {
				st := p.accept(1, fData(p.mine(1), "unread"))
				p.write(x.frame)
				p.wantEOF()
				<-p.s.Done()
				if err := p.s.Err(); err.Error() != x.text {
					t.Errorf("Err: got %q, want %q", err, x.text)
				}
				beginRead(st, 100).want(t, "unread") // what was received can be read
				_, err := beginRead(st, 100).result(t)
				wantErr(t, err, "read", x.want)
				_, err = beginWrite(st, "x").result(t)
				wantErr(t, err, "write", x.want)
				if err := p.s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		})
	}
}

// A reason may not fit into its frame.
func TestLongReason(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		reason := "x" + strings.Repeat("αβγ", 1000)
		closed := beginErr(func() error { return p.s.CloseWithError(1, reason) })
		f := p.read()
		if f.kind != closing || len(f.payload) > 1024 || len(f.payload) < 1020 || !strings.HasPrefix(reason, f.payload) {
			t.Errorf("got %v", f)
		}
		if strings.ToValidUTF8(f.payload, "") != f.payload {
			t.Error("a letter was cut in half")
		}
		p.conn.Close()
		closed.want(t, struct{}{})
	})
}
