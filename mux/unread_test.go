package mux_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// Others go on as long as what lies unread leaves something of the session's window, with the defaults that of 511 streams; with
// one more they wait, until one is closed. What is no data goes on anyway.
func TestUnreadStreams(t *testing.T) {
	t.Parallel()
	const most, bulk = 511, 20 << 20
	for _, n := range []int{most, most + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, nil, func(w *two) {
				var unread *mux.Stream
				for range n {
					c, s := w.pair()
					beginWrite(c, text(defaultWindow)).want(w, defaultWindow)
					unread = s
				}
				w.wantUnread(w.server, uint64(n)*defaultWindow)

				c, s := w.pair()
				write := begin(func() (int64, error) { return io.Copy(c, io.LimitReader(endless{}, bulk)) })
				read := begin(func() (int64, error) { return io.CopyN(io.Discard, s, bulk) })
				time.Sleep(time.Second)
				if n > most {
					write.wantBlocked(w)
					read.wantBlocked(w)
					if _, err := begin(func() (time.Duration, error) { return w.client.Ping(w.ctx) }).result(w); err != nil {
						w.Error(err)
					}
					other, end := w.pair()
					other.CloseWrite()
					if _, err := beginRead(end, 1).result(w); err != io.EOF {
						w.Errorf("got %v, want EOF", err)
					}
					unread.Close()
				}
				time.Sleep(time.Second)
				write.want(w, int64(bulk))
				read.want(w, int64(bulk))
			})
		})
	}
}

// fragile is a net.Conn that ends when a deadline passes, as one made of a WebSocket does.
type fragile struct{ net.Conn }

func (c fragile) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		c.Close()
	}
	return nil
}

func (c fragile) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c fragile) SetWriteDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// A session is lost with a carrier that an interruption ends, and goes on if the carrier's deadlines are hidden.
func TestFragileCarrier(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		t.Run(fmt.Sprint("hidden ", hidden), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New(carrierSize)
				defer b.Close()
				var carrier io.ReadWriteCloser = fragile{a}
				if hidden {
					carrier = struct{ io.ReadWriteCloser }{carrier}
				}
				s, err := mux.Client(carrier, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				p := &peer{T: t, s: s, conn: b, client: true, ctx: t.Context()}
				p.greet()
				st := p.open(1)
				read := beginRead(st, 100_000)
				read.wantBlocked(t)
				frame := encode(fData(st.ID(), text(50_000)))
				p.raw(frame[:12]) // the carrier is read into the caller's buffer now, if that can be interrupted
				read.wantBlocked(t)
				st.SetReadDeadline(time.Now())
				read.wantErr(t, "read", os.ErrDeadlineExceeded)
				if !hidden {
					synctest.Wait()
					if e, ok := s.Err().(*mux.SessionError); !ok || e.Code != codeCarrier {
						t.Errorf("the session's error is %v, want the carrier's", s.Err())
					}
					return
				}
				st.SetReadDeadline(time.Time{})
				p.raw(frame[12:])
				beginRead(st, 100_000).want(t, text(50_000))
				p.drain() // credit, perhaps
				p.wantAlive()
			})
		})
	}
}

// What is free of the session's window the other end gets to know, also if it is what lies unread that has used the rest, behind
// the last Read of anything.
func TestUnreadBehindReads(t *testing.T) {
	const window, each = 1 << 20, 60_000
	script(t, &mux.Config{Limits: mux.Limits{SessionWindow: window}}, func(t *testing.T, p *peer) {
		sent, n := 0, 0
		next := func() *mux.Stream {
			n++
			st := p.accept(n, fData(p.mine(n), text(min(each, window-sent))))
			sent += min(each, window-sent)
			return st
		}
		read := 0
		for range 5 {
			wantPattern(t, next(), 0, each)
			read += each
		}
		for sent < window {
			next()
		}
		most := uint64(0)
		for _, f := range p.drain() {
			if f.kind == limit {
				most = max(most, f.id)
			}
		}
		if want := uint64(window + read); most != want {
			t.Errorf("of %d bytes %d were read, and %d may be sent in all, want %d", sent, read, most, want)
		}
		p.check()
	})
}
