package mux_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// echoAll answers what comes on streams, until the session ends.
func echoAll(s *mux.Session) {
	for {
		st, err := s.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			defer st.Close()
			io.Copy(st, st)
		}()
	}
}

// TestLead has one stream play ping-pong, so that its Reads read the carrier, while others come by at random: whatever the
// others wait for comes soon, in the middle of the game or in a pause of it.
func TestLead(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			client, server := sessions(t, carrier.pair)
			go echoAll(server)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() { pingPongs(ctx, t, client, rand.New(rand.NewPCG(seed, 0))) })
			wg.Go(func() { passersBy(ctx, t, client, rand.New(rand.NewPCG(seed, 1))) })
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(patience):
				client.Close()
				t.Fatal("something waits for ever")
			}
			if err := errors.Join(client.Err(), server.Err(), client.Check(), server.Check()); err != nil {
				t.Error(err)
			}
		})
	}
}

// pingPongs plays until the context ends, with pauses, and deadlines that interrupt it.
func pingPongs(ctx context.Context, t *testing.T, s *mux.Session, rnd *rand.Rand) {
	st, err := s.Open(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	defer st.Close()
	buf := make([]byte, 3000)
	for at := 0; ctx.Err() == nil; {
		n := 1 + rnd.IntN(100)
		if rnd.IntN(20) == 0 {
			n = 1 + rnd.IntN(len(buf))
		}
		if _, err := st.Write(pattern(at, n)); err != nil {
			t.Errorf("Write: %v", err)
			return
		}
		for got := 0; got < n; {
			st.SetReadDeadline(time.Time{})
			if rnd.IntN(10) == 0 {
				st.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(50)) * time.Microsecond))
			}
			k, err := st.Read(buf[:n-got])
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || string(buf[:k]) != string(pattern(at+got, k)) {
				t.Errorf("Read: %d bytes, %v", k, err)
				return
			}
			got += k
		}
		at += n
		if rnd.IntN(100) == 0 {
			<-time.After(time.Duration(rnd.IntN(3000)) * time.Microsecond)
		}
	}
}

// passersBy does what others do with the session, a little at a time, and wants it done soon.
func passersBy(ctx context.Context, t *testing.T, s *mux.Session, rnd *rand.Rand) {
	for ctx.Err() == nil {
		<-time.After(time.Duration(rnd.IntN(8000)) * time.Microsecond)
		began := time.Now()
		what := ""
		switch rnd.IntN(3) {
		case 0:
			what = "Ping"
			if _, err := s.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
		case 1:
			what = "a request"
			st, err := s.Open(t.Context())
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			beginWrite(st, text(100))
			wantPattern(t, st, 0, 100)
			st.Close()
		case 2:
			what = "bulk"
			st, err := s.Open(t.Context())
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			go st.Write(pattern(0, 300_000)) // more than its credit
			wantPattern(t, st, 0, 300_000)
			st.Close()
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
}

// What comes while no Read reads the carrier, as the one that did is busy with what it has got, waits for some milliseconds at
// most.
func TestLeadPause(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.open(1)
		pingPong(p, st)
		for range 10 {
			in := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) })
			if in.returned() {
				t.Fatal("Accept has returned")
			}
			n := p.s.Stats().Accepted
			p.write(fOpen(p.mine(int(n)+1)), fPing(9))
			began := time.Now()
			p.want(fPong(9))
			if took := time.Since(began); took > 3*time.Millisecond {
				t.Errorf("a ping was answered after %v", took)
			}
			if _, err := in.result(t); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			pingPong(p, st)
		}
	})
}

// The session ends, or the stream does, while its Read reads the carrier: the Read returns at once and someone goes on reading.
func TestLeadEnds(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(p *peer, st *mux.Stream)
		want error
	}{
		{"Close", func(_ *peer, st *mux.Stream) { st.Close() }, net.ErrClosed},
		{"deadline", func(_ *peer, st *mux.Stream) { st.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"fin", func(p *peer, st *mux.Stream) { p.write(fFin(st.ID())) }, io.EOF},
		{"reset", func(p *peer, st *mux.Stream) { p.write(fReset(st.ID(), 3)) }, &mux.StreamError{Code: 3, Remote: true}},
	} {
		t.Run(x.name, func(t *testing.T) {
			script(t, nil, func(t *testing.T, p *peer) {
				st := p.open(1)
				pingPong(p, st)
				read := beginRead(st, 10)
				read.wantBlocked(t)
				if !p.s.ReadLeads() {
					t.Fatal("the Read does not read the carrier")
				}
				x.end(p, st)
				if _, err := read.result(t); err == nil || !errors.Is(err, x.want) {
					t.Errorf("got %v, want %v", err, x.want)
				}
				// The first half of a frame comes, and the Read that has it is told to stop.
				p.drain()
				other := p.accept(1)
				pingPong(p, other)
				read = beginRead(other, 10)
				read.wantBlocked(t)
				b := encode(fData(other.ID(), text(5000)))
				p.raw(b[:7])
				other.SetReadDeadline(time.Unix(1, 0))
				read.wantErr(t, "read", os.ErrDeadlineExceeded)
				other.SetReadDeadline(time.Time{})
				p.raw(b[7:])
				time.Sleep(5 * time.Millisecond)
				synctest.Wait()
				wantPattern(t, other, 0, 5000)
				p.wantAlive()
			})
		})
	}
}
