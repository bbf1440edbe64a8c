package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// What is no hello ends the session, with an error that shows what came.
func TestStrangers(t *testing.T) {
	header := func(f frame) []byte { return encode(f)[:12] }
	for _, x := range []struct {
		name   string
		raw    []byte
		reason string
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), `it begins with "GET / HTTP/1"`},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), `it begins with "PRI * HTTP/2`},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random"), `it begins with "\x16\x03\x01`},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.9\r\n"), `it begins with "SSH-2.0-Open"`},
		{"zeros", make([]byte, 100), "no session of this protocol"},
		{"another version", encode(frame{hello, fHello().id + 1, ""}), "the other end speaks version 2, this one version 1"},
		{"another frame first", encode(fPing(1), fHello()), "no session of this protocol"},
		{"hello with the flag", encode(frame{hello | flag, fHello().id, ""}), "no session of this protocol"},
		{"hello of 15 bytes", encode(frame{hello, fHello().id, strings.Repeat("x", 15)}), "no session of this protocol"},
		{"hello of 1040 bytes", header(frame{hello, fHello().id, strings.Repeat("x", 1040)}), "no session of this protocol"},
		{"hello of 16 MiB", []byte("\x01\xff\xff\xf0" + version), "no session of this protocol"},
	} {
		t.Run(x.name, func(t *testing.T) {
			bare(t, nil, carrierSize, func(t *testing.T, p *peer) {
				p.raw(x.raw)
				p.wantRefusal(codeFrame, x.reason)
			})
		})
	}
}

// Every frame that may not come, by itself or in the state that the session or a stream is in, ends the session.
func TestViolations(t *testing.T) {
	eight := "12345678"
	for _, x := range []struct {
		name   string
		code   uint64
		reason string
		frames func(p *peer) []frame
	}{
		{"kind 0", codeFrame, "kind 0", func(*peer) []frame { return []frame{{0, 1, ""}} }},
		{"kind 13", codeFrame, "kind 13", func(*peer) []frame { return []frame{{13, 0, ""}} }},
		{"kind 127", codeFrame, "kind 127", func(*peer) []frame { return []frame{{127 | flag, 0, ""}} }},
		{"second hello", codeFrame, "unexpected frame: hello", func(*peer) []frame { return []frame{fHello()} }},

		{"open with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{open | flag, p.mine(2), ""}} }},
		{"open with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{open, p.mine(2), "x"}} }},
		{"open of 0", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{open, 0, ""}} }},
		{"data of 0", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{data, 0, "x"}} }},
		{"too much data", codeFrame, "length 139265", func(p *peer) []frame { return []frame{fData(p.mine(1), text(mostFrame+1))} }},
		{"reset of 7", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{reset, p.mine(1), eight[:7]}} }},
		{"reset of 9", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{reset, p.mine(1), eight + "9"}} }},
		{"reset of 0", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{reset, 0, eight}} }},
		{"reset with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{reset | flag, p.mine(1), eight}} }},
		{"stop without code", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{stop, p.mine(1), ""}} }},
		{"stop with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{stop | flag, p.mine(1), eight}} }},
		{"credit of 4", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{credit, p.mine(1), eight[:4]}} }},
		{"credit with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{credit | flag, p.mine(1), eight}} }},
		{"limit with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{limit, 1, eight}} }},
		{"limit with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{limit | flag, 1, ""}} }},
		{"streams with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{streams, 1, eight}} }},
		{"streams with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{streams | flag, 1, ""}} }},
		{"ping with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{ping, 1, eight}} }},
		{"ping with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{ping | flag, 1, ""}} }},
		{"pong with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{pong, 1, eight}} }},
		{"goaway with an id", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{goAway, 1, ""}} }},
		{"goaway with a payload", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{goAway, 0, "x"}} }},
		{"goaway with the flag", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{{goAway | flag, 0, ""}} }},
		{"close with a long reason", codeFrame, "invalid frame", func(p *peer) []frame { return []frame{fClose(1, text(1025))} }},

		{"open of the session's", codeState, "is opened where", func(p *peer) []frame { return []frame{fOpen(p.its(2))} }},
		{"open left out", codeState, "is opened where", func(p *peer) []frame { return []frame{fOpen(p.mine(3))} }},
		{"open twice", codeState, "is opened where", func(p *peer) []frame { return []frame{fOpen(p.mine(2)), fOpen(p.mine(2))} }},
		{"open again", codeState, "is opened where", func(p *peer) []frame { return []frame{fOpen(p.mine(1))} }},
		{"open of the largest", codeState, "is opened where", func(p *peer) []frame { return []frame{fOpen(1<<64 - 1)} }},
		{"too many streams", codeStreams, "more than 16 streams", func(p *peer) (f []frame) {
			for i := range 16 {
				f = append(f, fOpen(p.mine(i+2)))
			}
			return f
		}},

		{"data of the session's next", codeState, "never opened", func(p *peer) []frame { return []frame{fData(p.its(2), "x")} }},
		{"data of the peer's next", codeState, "never opened", func(p *peer) []frame { return []frame{fData(p.mine(2), "x")} }},
		{"fin of the next", codeState, "never opened", func(p *peer) []frame { return []frame{fFin(p.mine(2))} }},
		{"reset of the next", codeState, "never opened", func(p *peer) []frame { return []frame{fReset(p.mine(2), 1)} }},
		{"stop of the next", codeState, "never opened", func(p *peer) []frame { return []frame{fStop(p.its(2), 1)} }},
		{"credit of the next", codeState, "never opened", func(p *peer) []frame { return []frame{fCredit(p.its(2), 1)} }},
		{"credit of the largest", codeState, "never opened", func(p *peer) []frame { return []frame{fCredit(1<<64-1, 1)} }},

		{"data behind fin", codeState, "data behind the end", func(p *peer) []frame { return []frame{fFin(p.mine(1)), fData(p.mine(1), "x")} }},
		{"empty data behind fin", codeState, "data behind the end", func(p *peer) []frame { return []frame{fFin(p.mine(1)), fData(p.mine(1), "")} }},
		{"fin twice", codeState, "data behind the end", func(p *peer) []frame { return []frame{fFin(p.its(1)), fFin(p.its(1))} }},
		{"reset behind fin", codeState, "reset behind the end", func(p *peer) []frame { return []frame{fFin(p.mine(1)), fReset(p.mine(1), 1)} }},
		{"data behind reset", codeState, "data behind the end", func(p *peer) []frame { return []frame{fReset(p.mine(1), 1), fData(p.mine(1), "x")} }},
		{"fin behind reset", codeState, "data behind the end", func(p *peer) []frame { return []frame{fReset(p.mine(1), 1), fFin(p.mine(1))} }},
		{"reset twice", codeState, "reset behind the end", func(p *peer) []frame { return []frame{fReset(p.its(1), 1), fReset(p.its(1), 1)} }},
		{"data of a stream that has ended", codeState, "data behind the end", func(p *peer) []frame {
			return []frame{fFin(p.mine(1)), fStop(p.mine(1), 0), fData(p.mine(1), "x")}
		}},
		{"fin of a stream that has ended", codeState, "data behind the end", func(p *peer) []frame {
			return []frame{fFin(p.its(1)), fStop(p.its(1), 0), fFin(p.its(1))}
		}},
		{"reset of a stream that has ended", codeState, "reset behind the end", func(p *peer) []frame {
			return []frame{fReset(p.mine(1), 0), fStop(p.mine(1), 0), fReset(p.mine(1), 0)}
		}},

		{"more than a stream's credit", codeCredit, "the limit of stream", func(p *peer) []frame {
			return []frame{fData(p.mine(1), text(defaultWindow)), fData(p.mine(1), "x")}
		}},
		{"more than a stream's credit at once", codeCredit, "the limit of stream", func(p *peer) []frame {
			return []frame{fData(p.its(1), text(defaultWindow+1))}
		}},
		{"more than the session's credit", codeCredit, "the session's limit of 1048576 bytes", func(p *peer) (f []frame) {
			for i := range 15 {
				f = append(f, fOpen(p.mine(i+2)), fData(p.mine(i+2), text(defaultWindow)))
			}
			return append(f, fData(p.mine(1), text(defaultWindow)), fData(p.its(1), "x"))
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 16, SessionWindow: 1 << 20}}
			bare(t, cfg, 4<<20, func(t *testing.T, p *peer) {
				p.greet()
				out, in := p.open(1), p.accept(1)
				read := beginRead(out, 200_000)
				p.write(x.frames(p)...)
				p.wantRefusal(x.code, x.reason)
				cause := &mux.SessionError{Code: x.code, Protocol: true}
				_, err := read.result(t)
				ended := errors.As(err, new(*mux.StreamError)) || err == io.EOF || err == nil // what came before was quicker
				if !ended && !errors.Is(err, cause) {
					t.Errorf("read: got %v", err)
				}
				if _, err := in.Write([]byte("x")); !errors.Is(err, cause) && !errors.As(err, new(*mux.StreamError)) {
					t.Errorf("write: got %v", err)
				}
			})
		})
	}
}

// The carrier ends in the middle of a frame, at any byte of it.
func TestTruncated(t *testing.T) {
	frames := []frame{fOpen(2), fData(2, text(40)), fCredit(2, 1<<20), fLimit(1 << 30), fPing(3), fGoAway(), fReset(2, 9)}
	whole := encode(append([]frame{fHello(helloCredit, 1)}, frames...)...)
	for n := range whole {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer(t, mode{true, n%2 == 0}, nil, carrierSize)
			p.raw(whole[:n])
			p.conn.CloseWrite()
			<-p.s.Done()
			if err := p.s.Err(); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, &mux.SessionError{Code: codeCarrier, Protocol: true}) {
				t.Fatalf("after %d bytes: got %v", n, err)
			}
		})
	}
}

// flood writes frames to the session as fast as it takes them, until it has ended, and returns how many it has sent. What the
// session sends is read, or not.
func flood(t *testing.T, p *peer, reads bool, most int, next func(i int) []frame) (sent int) {
	t.Helper()
	if reads {
		go io.Copy(io.Discard, p.conn)
	}
	for sent < most && p.s.Err() == nil {
		var b []byte
		for range 100 {
			b = append(b, encode(next(sent)...)...)
			sent++
		}
		p.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, err := p.conn.Write(b); err != nil {
			break
		}
		synctest.Wait()
		if n := p.s.Queued(); n > 2<<20 {
			t.Fatalf("after %d frames %d bytes are queued", sent, n)
		}
	}
	return sent
}

// Frames that lead nowhere end the session when there are too many of them.
func TestUselessFrames(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		next func(p *peer) func(i int) []frame
	}{
		{"empty data", func(p *peer) func(int) []frame {
			return func(int) []frame { return []frame{fData(p.mine(1), "")} }
		}},
		{"credit that raises nothing", func(p *peer) func(int) []frame {
			return func(int) []frame { return []frame{fCredit(p.mine(1), 1)} }
		}},
		{"credit by single bytes", func(p *peer) func(int) []frame {
			return func(i int) []frame { return []frame{fCredit(p.mine(1), uint64(defaultWindow+i))} }
		}},
		{"limits that raise nothing", func(p *peer) func(int) []frame {
			return func(int) []frame { return []frame{fLimit(1)} }
		}},
		{"limits by single bytes", func(p *peer) func(int) []frame {
			return func(i int) []frame { return []frame{fLimit(uint64(32<<20 + i))} }
		}},
		{"streams that raise nothing", func(p *peer) func(int) []frame {
			return func(int) []frame { return []frame{fStreams(1)} }
		}},
		{"pongs", func(p *peer) func(int) []frame {
			return func(i int) []frame { return []frame{fPong(uint64(i))} }
		}},
		{"goaways", func(p *peer) func(int) []frame {
			return func(i int) []frame { return []frame{fGoAway()} }
		}},
		{"stops", func(p *peer) func(int) []frame {
			return func(i int) []frame { return []frame{fStop(p.mine(1), 0)} }
		}},
		{"stops of a stream that has ended", func(p *peer) func(int) []frame {
			p.write(fReset(p.mine(1), 0))
			return func(i int) []frame { return []frame{fStop(p.mine(1), 0)} }
		}},
		{"credit of a stream that has ended", func(p *peer) func(int) []frame {
			p.write(fReset(p.mine(1), 0), fStop(p.mine(1), 0))
			return func(i int) []frame { return []frame{fCredit(p.mine(1), uint64(i)<<20)} }
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t, mode{true, true}, nil, carrierSize)
				p.greet(helloCredit, defaultWindow, helloLimit, 32<<20, helloStreams, 1024)
				p.accept(1)
				next := x.next(p)
				const most = 100_000
				if sent := flood(t, p, true, most, next); sent == most {
					t.Fatalf("%d frames of no use were taken", sent)
				}
				want := &mux.SessionError{Code: codeFlood, Protocol: true}
				if err := p.s.Err(); !errors.Is(err, want) {
					t.Errorf("got %v", err)
				}
			})
			// At a slower pace they are harmless.
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t, mode{true, true}, nil, carrierSize)
				p.greet(helloCredit, defaultWindow, helloLimit, 32<<20, helloStreams, 1024)
				p.accept(1)
				next := x.next(p)
				go io.Copy(io.Discard, p.conn)
				for i := range 30_000 {
					p.write(next(i)...)
					if i%100 == 0 {
						time.Sleep(200 * time.Millisecond)
					}
				}
				if err := p.s.Err(); err != nil {
					t.Errorf("500 of them in a second end the session: %v", err)
				}
			})
		})
	}
}

// Answers to what a peer sends are bounded when it doesn't read them.
func TestAnswersNotRead(t *testing.T) {
	t.Parallel()
	type next = func(i int) []frame
	for _, x := range []struct {
		name string
		next func(p *peer) next
		ends error // nil if it goes on
	}{
		{"pings", func(p *peer) next {
			return func(i int) []frame { return []frame{fPing(uint64(i))} }
		}, &mux.SessionError{Code: codeFlood, Protocol: true}},
		{"streams that are accepted and closed", func(p *peer) next {
			go acceptAndClose(p.s)
			return func(i int) []frame { return []frame{fOpen(p.mine(i + 1)), fFin(p.mine(i + 1))} }
		}, &mux.SessionError{Protocol: true}},
		{"streams that are accepted and closed, not by the peer", func(p *peer) next {
			go acceptAndClose(p.s)
			return func(i int) []frame { return []frame{fOpen(p.mine(i + 1)), fReset(p.mine(i+1), 0)} }
		}, &mux.SessionError{Protocol: true}},
		{"stopped streams", func(p *peer) next {
			go acceptAndClose(p.s)
			return func(i int) []frame {
				return []frame{fOpen(p.mine(i + 1)), fStop(p.mine(i+1), 0), fReset(p.mine(i+1), 0)}
			}
		}, &mux.SessionError{Protocol: true}},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, direct := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					p := newPeer(t, mode{true, direct}, nil, 64<<10)
					p.greet(helloCredit, defaultWindow, helloLimit, 32<<20, helloStreams, 1024)
					flood(t, p, false, 1_000_000, x.next(p))
					err, ok := p.s.Err().(*mux.SessionError)
					if !ok || !err.Protocol || err.Code != codeFlood && err.Code != codeStreams && err.Code != codeTimeout {
						t.Errorf("direct %v: got %v", direct, p.s.Err())
					}
				})
			}
		})
	}
}

// acceptAndClose is a program that does nothing with streams.
func acceptAndClose(s *mux.Session) {
	for {
		st, err := s.Accept(context.Background())
		if err != nil {
			return
		}
		st.Close()
	}
}

// TestRapidReset is the attack of CVE-2023-44487: streams are opened and reset at once, so that for the peer there are hardly any,
// while the server works for all of them. Here a stream counts until the server has closed it.
func TestRapidReset(t *testing.T) {
	const most, work = 20, time.Millisecond
	script(t, &mux.Config{Limits: mux.Limits{MaxStreams: most}}, func(t *testing.T, p *peer) {
		var now, peak, handled atomic.Int32
		go func() {
			for {
				st, err := p.s.Accept(p.ctx)
				if err != nil {
					return
				}
				go func() {
					n := now.Add(1)
					for m := peak.Load(); n > m && !peak.CompareAndSwap(m, n); m = peak.Load() {
					}
					time.Sleep(work) // a request is handled to its end, be it reset or not
					now.Add(-1)
					handled.Add(1)
					st.Close()
				}()
			}
		}()
		// A peer that keeps to what it is granted is as fast as the server.
		began := time.Now()
		defer time.Sleep(2 * work)
		granted, opened := most, 0
		for opened < 2000 {
			for ; opened < granted; opened++ {
				id := p.mine(opened + 1)
				p.write(fOpen(id), fData(id, "request"))
				if opened%5 > 0 { // else it is gone before anybody works for it
					synctest.Wait()
				}
				p.write(fReset(id, 8), fStop(id, 8))
			}
			for {
				f := p.read()
				if f.kind == streams {
					granted = int(f.id)
					break
				}
			}
		}
		synctest.Wait()
		if n := peak.Load(); n > most {
			t.Errorf("%d streams were at work at once, want at most %d", n, most)
		}
		if took, least := time.Since(began), 2000/most*work/2; took < least {
			t.Errorf("2000 streams were taken in %v, want at least %v", took, least)
		}
		// One that doesn't is refused.
		for p.s.Err() == nil && opened < 3000 {
			opened++
			id := p.mine(opened)
			p.write(fOpen(id), fData(id, "request"))
			synctest.Wait()
			p.conn.Write(encode(fReset(id, 8), fStop(id, 8)))
		}
		p.wantRefusal(codeStreams, "streams are opened")
	})
}

// Opens that nobody accepts are bounded too, reset or not.
func TestOpensNotAccepted(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		for i := range 1024 {
			id := p.mine(i + 1)
			p.write(fOpen(id), fReset(id, 0), fStop(id, 0))
		}
		p.check()
		p.write(fOpen(p.mine(1025)))
		p.wantRefusal(codeStreams, "more than 1024 streams")
	})
}

// Streams that come and go fast on both ends are no flood, though of each something is late: a stop that crosses the end.
func TestChurnIsNoFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := link{delay: 100 * time.Microsecond}.pair(t)
		client, server := sessionsOn(t, a, b, nil, nil)
		for _, s := range []*mux.Session{client, server} {
			go func() {
				for {
					st, err := s.Accept(t.Context())
					if err != nil {
						return
					}
					go func() {
						buf := make([]byte, 100)
						st.Read(buf)
						st.Write(buf)
						st.Close()
					}()
				}
			}()
		}
		var wg sync.WaitGroup
		for i := range 200 {
			s := []*mux.Session{client, server}[i%2]
			wg.Go(func() {
				for range 300 {
					st, err := s.Open(t.Context())
					if err != nil {
						t.Errorf("Open: %v", err)
						return
					}
					st.Write([]byte("request"))
					buf := make([]byte, 100)
					_, err = io.ReadFull(st, buf)
					st.Close()
					if err != nil {
						t.Errorf("answer: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(100 * time.Millisecond)
		if err := mux.CheckPair(client, server); err != nil {
			t.Error(err)
		}
		if n := client.NumStreams() + server.NumStreams(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
		client.Close()
	})
}

// heap is how many bytes of the heap are in use.
func heap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory measures what a peer can make a session keep, at the limits of Config and however it cuts what it sends. There are no
// goroutines but the session's two.
func TestMemory(t *testing.T) {
	const streamsMost, window = 2000, 8 << 20
	for _, x := range []struct {
		name   string
		frames func(i int, id uint64) []frame // of the i-th stream
		most   int64                          // bytes of heap
	}{
		{"streams", func(int, uint64) []frame { return nil }, streamsMost * 700},
		{"a byte in each", func(_ int, id uint64) []frame { return []frame{fData(id, "x")} }, streamsMost * 900},
		{"single bytes", func(_ int, id uint64) (f []frame) {
			for range 300 {
				f = append(f, fData(id, "x"))
			}
			return f
		}, streamsMost * 1500},
		{"all that may come, at once", func(i int, id uint64) []frame {
			if i >= window/defaultWindow {
				return nil
			}
			return []frame{fData(id, text(defaultWindow))}
		}, streamsMost*700 + window*5/2},
		{"all that may come, in awkward pieces", func(i int, id uint64) (f []frame) {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for n := 0; i < window/defaultWindow; {
				size := []int{1025, 4097, 16_385, 65, 257, 1 + rnd.IntN(20_000)}[rnd.IntN(6)]
				if n += size; n > defaultWindow {
					break
				}
				f = append(f, fData(id, text(size)))
			}
			return f
		}, streamsMost*700 + window*5/2},
		{"reset streams", func(_ int, id uint64) []frame {
			return []frame{fData(id, text(100)), fReset(id, 1), fStop(id, 1)}
		}, streamsMost * 900},
		{"stopped streams", func(_ int, id uint64) []frame { return []frame{fStop(id, 1)} }, streamsMost * 900},
	} {
		t.Run(x.name, func(t *testing.T) {
			a, b := pipe.New(1 << 20)
			before, goroutines := heap(), runtime.NumGoroutine()
			s, err := mux.Server(a, &mux.Config{Limits: mux.Limits{
				MaxStreams: streamsMost, AcceptBacklog: streamsMost, SessionWindow: window}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			defer b.Close()
			go io.Copy(io.Discard, b)
			b.Write(encode(fHello()))
			for i := range streamsMost {
				id := uint64(2*i + 1)
				if _, err := b.Write(encode(append([]frame{fOpen(id)}, x.frames(i, id)...)...)); err != nil {
					t.Fatalf("%v (%v)", err, s.Err())
				}
			}
			b.Write(encode(fPing(1)))
			for end := time.Now().Add(patience); s.NumStreams() < streamsMost && !strings.Contains(x.name, "reset") && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond)
			if err := errors.Join(s.Err(), s.Check()); err != nil {
				t.Fatal(err)
			}
			kept := heap() - before
			t.Logf("%d bytes of heap, %d a stream; %d bytes are unread", kept, kept/streamsMost, s.Stats().Unread)
			if kept > x.most {
				t.Errorf("%d bytes of heap are kept, want at most %d", kept, x.most)
			}
			if n := runtime.NumGoroutine() - goroutines; n > 3 { // one of them is the peer's
				t.Errorf("there are %d goroutines", n)
			}
		})
	}
}

// Streams that have been there cost nothing when they are gone, however many there were at once, and that all of them go
// at once is no flood, though of each something crosses the end.
func TestMemoryOfGone(t *testing.T) {
	const many = 50_000
	a, b := pipe.New(1 << 20)
	cfg := &mux.Config{Limits: mux.Limits{AcceptBacklog: many}}
	client, server := sessionsOn(t, a, b, cfg, cfg)
	before := heap()
	var streams []*mux.Stream
	for range many {
		opened, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, opened)
	}
	for range many {
		accepted, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, accepted)
	}
	for _, st := range streams {
		st.Close()
	}
	streams = nil
	for end := time.Now().Add(patience); client.NumStreams()+server.NumStreams() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for range 4 { // buffers that were of use for much go when there is little
		if _, err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kept := heap() - before
	t.Logf("%d bytes of heap", kept)
	if err := errors.Join(client.Err(), server.Err()); err != nil || kept > 40*many {
		t.Errorf("%d bytes of heap are kept for %d streams that are gone, want nearly none (%v)", kept, many, err)
	}
}

// Random bytes behind a hello end the session with a clear error, and nothing worse.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			p := newPeer(t, mode{seed%2 == 0, seed%4 < 2}, nil, carrierSize)
			p.greet()
			b := make([]byte, 1+rnd.IntN(1000))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			if rnd.IntN(2) == 0 { // in the likeness of frames
				for i := 0; i+12 <= len(b); i += 12 {
					b[i] = byte(1 + rnd.IntN(12))
					b[i+1], b[i+2], b[i+3] = 0, 0, []byte{0, 0, 8, 16}[rnd.IntN(4)]
					binary.BigEndian.PutUint64(b[i+4:], uint64(rnd.IntN(4)))
				}
			}
			p.raw(b)
			p.conn.CloseWrite()
			<-p.s.Done()
			var se *mux.SessionError
			if err := p.s.Err(); !errors.As(err, &se) {
				t.Errorf("seed %d: got %v", seed, err)
			}
		})
	}
}

// While the peer doesn't take what is sent, it is not allowed more streams; when it does, it is.
func TestGrantsWait(t *testing.T) {
	bare(t, &mux.Config{Limits: mux.Limits{MaxStreams: 16}}, smallCarrier, func(t *testing.T, p *peer) {
		p.greet(helloCredit, 1<<20, helloLimit, 1<<30, helloStreams, 100)
		var in []*mux.Stream
		for i := range 16 {
			in = append(in, p.accept(i+1, fFin(p.mine(i+1))))
		}
		beginWrite(p.begin(), text(500_000)).wantBlocked(t) // has the carrier
		out := p.begin()
		for p.s.Queued() <= 256<<10 {
			beginWrite(out, text(8<<10)).want(t, 8<<10)
		}
		for _, st := range in {
			st.Close()
		}
		p.check()
		if n := p.s.Queued(); n > 256<<10+9<<10 {
			t.Errorf("%d bytes are queued", n)
		}
		all := p.drain()
		if last := (frame{streams, 32, ""}); !slices.Contains(all, last) {
			t.Errorf("%d frames without %v", len(all), last)
		}
		for i := range 16 {
			p.accept(i + 17)
		}
		p.wantAlive()
	})
}
