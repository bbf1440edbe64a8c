package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// Shutdown lets the streams that are there come to their end, and nobody open others; then the session is closed.
func TestShutdown(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		c, s := w.pair()
		unaccepted := w.open()
		beginWrite(unaccepted, "take me").want(w, 7)
		shutdown := beginErr(func() error { return w.client.Shutdown(w.ctx) })
		shutdown.wantBlocked(w)
		for _, end := range []*mux.Session{w.client, w.server} {
			_, err := begin(func() (*mux.Stream, error) { return end.Open(w.ctx) }).result(w)
			wantErr(w, err, "open", mux.ErrGoAway)
		}
		again := beginErr(func() error { return w.client.Shutdown(w.ctx) })
		again.wantBlocked(w)
		other := beginErr(func() error { return w.server.Shutdown(w.ctx) }) // both ends, at that
		other.wantBlocked(w)

		accepted := w.accept()
		beginRead(accepted, 10).want(w, "take me")
		accepted.Close()
		unaccepted.Close()
		beginWrite(c, text(1<<20))
		wantPattern(w, s, 0, 1<<20)
		w.check() // which waits for what is on its way
		shutdown.wantBlocked(w)
		beginWrite(s, "answer").want(w, 6)
		s.Close()
		c.Close()
		time.Sleep(10 * time.Millisecond)
		shutdown.want(w, struct{}{})
		again.want(w, struct{}{})
		other.want(w, struct{}{})
		for _, end := range []*mux.Session{w.client, w.server} {
			if err := end.Err(); !errors.Is(err, &mux.SessionError{}) && !errors.Is(err, &mux.SessionError{Remote: true}) {
				w.Errorf("got %v, want a plain end", err)
			}
		}
		beginErr(func() error { return w.client.Shutdown(w.ctx) }).want(w, struct{}{})
	})
}

// What was received when the session ends can be read, after a Shutdown too.
func TestShutdownUnread(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		c, s := w.pair()
		beginWrite(c, text(1000)).want(w, 1000)
		c.CloseWrite()
		s.CloseWrite()
		beginErr(func() error { return w.server.Shutdown(w.ctx) }).want(w, struct{}{})
		wantPattern(w, s, 0, 1000)
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			w.Errorf("got %v, want EOF", err)
		}
	})
}

// Shutdown without streams is Close, and tells the other end first.
func TestShutdownAtRest(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		shutdown := beginErr(func() error { return p.s.Shutdown(p.ctx) })
		p.want(fGoAway(), fClose(0, ""))
		p.wantEOF()
		p.conn.Close()
		shutdown.want(t, struct{}{})
	})
}

// When the context of Shutdown ends the session goes on, without new streams, until a later Shutdown or Close.
func TestShutdownContext(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		ctx, cancel := context.WithTimeout(p.ctx, time.Second)
		defer cancel()
		wantErr(t, p.s.Shutdown(ctx), "shutdown", context.DeadlineExceeded)
		p.want(fGoAway())
		beginWrite(st, "still").want(t, 5)
		p.want(fData(st.ID(), "still"))
		// A stream that crosses goaway is taken as any other.
		in := p.accept(1, fData(p.mine(1), "crossing"))
		beginRead(in, 10).want(t, "crossing")
		shutdown := beginErr(func() error { return p.s.Shutdown(p.ctx) })
		p.wantNothing() // not a second goaway
		in.Close()
		p.want(fFin(in.ID()), fStop(in.ID(), 0))
		p.write(fFin(in.ID()), fFin(st.ID()))
		synctest.Wait()
		shutdown.wantBlocked(t)
		st.CloseWrite()
		p.want(fFin(st.ID()), fClose(0, ""))
		p.conn.Close()
		shutdown.want(t, struct{}{})
	})
}

// While an end drains it does not allow more streams than it has before, so that a peer that goes on opening them comes to
// an end.
func TestShutdownGrantsNothing(t *testing.T) {
	script(t, &mux.Config{Limits: mux.Limits{MaxStreams: 16}}, func(t *testing.T, p *peer) {
		st := p.open(1)
		shutdown := beginErr(func() error { return p.s.Shutdown(p.ctx) })
		p.want(fGoAway())
		for i := range 16 {
			in := p.accept(i+1, fFin(p.mine(i+1)))
			in.Close()
			p.want(fFin(in.ID()))
		}
		p.wantNothing()
		shutdown.wantBlocked(t)
		p.write(fFin(st.ID()))
		synctest.Wait()
		st.Close()
		p.want(fFin(st.ID()), fClose(0, ""))
		p.conn.Close()
		shutdown.want(t, struct{}{})
	})
}

// A Close, or a failure, while Shutdown waits ends it.
func TestShutdownCutShort(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		w.pair()
		shutdown := beginErr(func() error { return w.client.Shutdown(w.ctx) })
		other := beginErr(func() error { return w.server.Shutdown(w.ctx) })
		shutdown.wantBlocked(w)
		w.client.CloseWithError(4, "now")
		shutdown.want(w, struct{}{})
		_, err := other.result(w)
		wantErr(w, err, "shutdown", &mux.SessionError{Code: 4, Reason: "now", Remote: true})
	})
}

// Two ends that close at once, on carriers of all kinds, both come to their end and say so.
func TestCloseBoth(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			client, server := sessions(t, carrier.pair)
			c, s := streamPair(t, client, server)
			reads, writes := busy(c, s)
			a := beginErr(func() error { return client.CloseWithError(1, "one") })
			b := beginErr(func() error { return server.CloseWithError(2, "two") })
			for _, c := range []*call[struct{}]{a, b} {
				if err := c.wait(t); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			for i, end := range []*mux.Session{client, server} {
				own, others := uint64(i+1), uint64(2-i)
				if err := end.Err(); !errors.Is(err, &mux.SessionError{Code: own}) && !errors.Is(err, &mux.SessionError{Code: others, Remote: true}) {
					t.Errorf("got %v", err)
				}
				for op, err := range map[string]error{"read": reads[i].wait(t), "write": writes[i].wait(t)} {
					wantErr(t, err, op, end.Err())
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("%v is not net.ErrClosed", err)
					}
				}
				<-end.Done()
			}
		})
	}
}

// The other end gets code and reason though much is unread in both directions, on carriers of all kinds.
func TestReasonArrives(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			client, server := sessions(t, carrier.pair)
			for range 20 { // of each nobody reads
				c, s := streamPair(t, client, server)
				go writeOn(c)
				go writeOn(s)
			}
			if err := client.CloseWithError(1<<63, "because"); err != nil {
				t.Errorf("Close: %v", err)
			}
			select {
			case <-server.Done():
			case <-time.After(patience):
				t.Fatal("the other end hears nothing")
			}
			want := &mux.SessionError{Code: 1 << 63, Reason: "because", Remote: true}
			if err := server.Err(); !errors.Is(err, want) || err.(*mux.SessionError).Reason != "because" {
				t.Errorf("got %v, want %v", err, want)
			}
			_, err := server.Open(t.Context())
			wantErr(t, err, "open", want)
		})
	}
}

// Done, Err and the rest of what a session tells about itself.
func TestSessionState(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		if err := w.client.Err(); err != nil {
			w.Errorf("Err is %v", err)
		}
		select {
		case <-w.client.Done():
			w.Error("Done is closed")
		default:
		}
		c, s := w.pair()
		beginWrite(c, "12345").want(w, 5)
		beginWrite(s, "123").want(w, 3)
		w.check()
		for _, x := range []struct {
			name string
			end  *mux.Session
			want mux.Stats
		}{
			{"client", w.client, mux.Stats{Streams: 1, Opened: 1, Sent: 5, Received: 3, Unread: 3}},
			{"server", w.server, mux.Stats{Streams: 1, Accepted: 1, Sent: 3, Received: 5, Unread: 5}},
		} {
			got := x.end.Stats()
			got.RTT, got.PathRTT = 0, 0
			if got != x.want {
				w.Errorf("%s: got %+v, want %+v", x.name, got, x.want)
			}
			if n := x.end.NumStreams(); n != 1 {
				w.Errorf("%s: NumStreams is %d", x.name, n)
			}
		}
		if a := c.LocalAddr(); a.String() != "pipe" || a.Network() != "pipe" || c.RemoteAddr().String() != "pipe" {
			w.Errorf("the stream's address is %v, want the carrier's", a)
		}
		w.client.Close()
		<-w.server.Done()
		_ = s
	})
}

// Config.Logger hears of the end of a session, and why.
func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		cfg := &mux.Config{Logger: slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		a, b := pipe.New(pipe.DefaultSize)
		client, server := sessionsOn(t, a, b, nil, cfg)
		client.CloseWithError(9, "bye")
		<-server.Done()
		synctest.Wait()
		if got := buf.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"session was closed by the other end: bye (code 9)"`) {
			t.Errorf("got %q", got)
		}
	})
}
