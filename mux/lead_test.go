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

// Reads lead, too, when streams come one after the other, each for a request and its answer.
func TestLeadSerial(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		led := 0
		for i := range 60 {
			st := p.open(i + 1)
			beginWrite(st, "ask").want(t, 3)
			p.want(fData(st.ID(), "ask"))
			read := beginRead(st, 10)
			read.wantBlocked(t)
			if p.s.ReadLeads() {
				led++
			}
			p.write(fLast(st.ID(), "answer"))
			read.want(t, "answer")
			st.Close()
			p.want(fFin(st.ID()))
		}
		if led < 20 {
			t.Errorf("%d of 60 Reads have read the carrier, want most of the last 40", led)
		}
		p.wantAlive()
	})
}

// patientOnes are Reads and Writes that wait while one stream is used: it does not mind them.
func patientOnes(p *peer, n int) (reads []*call[string], writes []*call[int], readers, writers []*mux.Stream) {
	for range n {
		st := p.begin()
		read := beginRead(st, 10)
		read.wantBlocked(p)
		reads, readers = append(reads, read), append(readers, st)
	}
	for range n {
		st := p.begin()
		write := beginWrite(st, text(defaultWindow+1))
		p.drain()
		write.wantBlocked(p)
		writes, writers = append(writes, write), append(writers, st)
	}
	p.drain()
	return reads, writes, readers, writers
}

// A stream that alone is active has its Reads lead, though Reads and Writes of others wait. What comes for one of these it gets at
// once or in some milliseconds, and who begins to wait calls the goroutine back.
func TestLeadPatient(t *testing.T) {
	const n = 100
	script(t, &mux.Config{KeepAlive: -1}, func(t *testing.T, p *peer) {
		reads, writes, readers, writers := patientOnes(p, n)
		st := p.begin()
		p.drain()
		leads := func() *call[string] {
			t.Helper()
			for range 30 { // more are needed after every pause
				pingPong(p, st)
				read := beginRead(st, 10)
				read.wantBlocked(t)
				if p.s.ReadLeads() {
					return read
				}
				p.write(fData(st.ID(), "pong"))
				read.want(t, "pong")
			}
			t.Fatal("the Read of the stream that alone is active does not read the carrier")
			return nil
		}
		soon := func(what string, f func()) {
			t.Helper()
			began := time.Now()
			f()
			if took := time.Since(began); took > 3*time.Millisecond {
				t.Errorf("%s has taken %v", what, took)
			}
		}
		// While the Read leads, others get what is theirs at once.
		read := leads()
		began := time.Now()
		p.write(fData(readers[0].ID(), "hello"), fCredit(writers[0].ID(), defaultWindow+1))
		reads[0].want(t, "hello")
		writes[0].want(t, defaultWindow+1)
		if took := time.Since(began); took != 0 {
			t.Errorf("what came for others, while a Read led, took %v", took)
		}
		p.want(fData(writers[0].ID(), text(defaultWindow + 1)[defaultWindow:]))
		// Who had something and waits again is not patient any more: the goroutine leads next, so nothing takes time at all.
		again := beginRead(readers[0], 10)
		again.wantBlocked(t)
		if p.s.ReadLeads() {
			t.Error("the goroutine was not called back")
		}
		p.write(fData(st.ID(), "pong"))
		read.want(t, "pong")
		began = time.Now()
		p.write(fData(readers[0].ID(), "again"))
		again.want(t, "again")
		if took := time.Since(began); took != 0 {
			t.Errorf("what came when the goroutine was to lead took %v", took)
		}
		// In a pause of the active stream, all get theirs soon: who has been patient, and who comes.
		for _, x := range []struct {
			what string
			f    func()
		}{
			{"a patient Read", func() {
				p.write(fData(readers[1].ID(), "soon"))
				wantSoon(t, reads[1], "soon")
			}},
			{"a patient Write", func() {
				p.write(fCredit(writers[1].ID(), defaultWindow+1))
				wantSoon(t, writes[1], defaultWindow+1)
				p.want(fData(writers[1].ID(), text(defaultWindow + 1)[defaultWindow:]))
			}},
			{"a Ping", func() {
				pinged := begin(func() (time.Duration, error) { return p.s.Ping(p.ctx) })
				f, err := p.readUntil(time.Now().Add(time.Second))
				if err != nil || f.kind != ping {
					t.Fatalf("got %v, %v, want ping", f, err)
				}
				p.write(fPong(f.id))
				if err := pinged.wait(t); err != nil {
					t.Error(err)
				}
			}},
			{"a Read that has a deadline", func() {
				readers[2].SetReadDeadline(time.Now().Add(time.Millisecond))
				if err := reads[2].wait(t); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			}},
			{"an Accept", func() {
				in := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) })
				p.write(fOpen(p.mine(1)))
				if err := in.wait(t); err != nil {
					t.Error(err)
				}
			}},
		} {
			time.Sleep(time.Minute)
			p.drain()
			read := leads()
			p.write(fData(st.ID(), "pong"))
			read.want(t, "pong")
			soon(x.what, x.f)
		}
		p.drain()
		p.wantAlive()
	})
}

// wantSoon wants a call to return a value, whatever that takes.
func wantSoon[V comparable](t *testing.T, c *call[V], want V) {
	t.Helper()
	if err := c.wait(t); err != nil || c.v != want {
		t.Errorf("got %v, %v, want %v", c.v, err, want)
	}
}

// A Read or Write may be told to leave a carrier that it has just let go of, when there is another one that has no deadlines.
func TestInterruptNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := duplexPair()
		acceptor := mux.NewAcceptor(resumeConfig())
		client, err := mux.Client(a, resumeConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, _, err := acceptor.Serve(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		exchange(t, client, server, 1000)
		client.Interrupt()
		client.PretendCut()
		exchange(t, client, server, 1000)
	})
}
