package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// A breakable rig keeps its last carrier, so that a test can break it.
type breakable struct {
	*rig
	last *net.Conn
}

func newBreakable(t *testing.T, tune func(client, server *mux.Config)) *breakable {
	last := new(net.Conn)
	r := newRig(t, func() (a, b net.Conn) {
		a, b = bufferedPipe()
		*last = a
		return a, b
	}, false, tune)
	return &breakable{r, last}
}

// cut breaks the carrier, and waits until both ends know.
func (r *breakable) cut() {
	(*r.last).Close()
	synctest.Wait()
}

// TestGrace waits until both ends have waited long enough.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		lost := make(map[*mux.Session]error)
		note := func(s *mux.Session, err error) {
			mu.Lock()
			defer mu.Unlock()
			lost[s] = err
		}
		r := newBreakable(t, func(client, server *mux.Config) {
			client.Resume.Grace, server.Resume.Grace = 7*time.Second, 11*time.Second
			client.Resume.Lost, server.Resume.Lost = note, note
		})
		opened, accepted := streamPair(t, r.client, r.server)
		read := make(chan error, 2)
		for _, st := range []*mux.Stream{opened, accepted} {
			go func() {
				_, err := st.Read(make([]byte, 1))
				read <- err
			}()
		}
		r.cut()
		start := time.Now()
		mu.Lock()
		for _, s := range []*mux.Session{r.client, r.server} {
			err := lost[s]
			wantText := "the carrier is lost: read: "
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), wantText) {
				t.Errorf("Lost was called with %v, want %q and why", err, wantText)
			}
			if errors.As(err, new(*mux.SessionError)) {
				t.Errorf("Lost says that the session has ended: %v", err)
			}
		}
		mu.Unlock()
		for _, want := range []time.Duration{7 * time.Second, 11 * time.Second} {
			err := <-read
			if took := time.Since(start); took != want {
				t.Errorf("a Read failed after %v, want %v", took, want)
			}
			var end *mux.SessionError
			if !errors.As(err, &end) || !errors.Is(err, net.ErrClosed) || end.Err == nil ||
				!strings.Contains(err.Error(), "no new carrier has come for "+want.String()) {
				t.Errorf("after %v: %v", want, err)
			}
		}
		<-r.server.Done()
		// The server does not know it any more.
		a, b := bufferedPipe()
		defer a.Close()
		go r.acceptor.Serve(context.Background(), b)
		if err := r.client.Resume(context.Background(), a); !errors.Is(err, net.ErrClosed) {
			t.Errorf("resume of an ended session: %v", err)
		}
	})
}

// TestBackoff has dials fail: the first comes at once, the next after ever longer times.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var dials []time.Duration
		var cut time.Time
		refuse := errors.New("no way")
		r := newBreakable(t, func(client, server *mux.Config) {
			client.Resume.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
				mu.Lock()
				defer mu.Unlock()
				dials = append(dials, time.Since(cut))
				return nil, refuse
			}
		})
		cut = time.Now()
		r.cut()
		<-r.client.Done()
		mu.Lock()
		defer mu.Unlock()
		if took := time.Since(cut); took != patience {
			t.Errorf("the session ended after %v, want %v", took, patience)
		}
		if dials[0] != 0 {
			t.Errorf("the first dial came after %v", dials[0])
		}
		most := 50 * time.Millisecond
		for i, d := range dials[1:] {
			if wait := d - dials[i]; wait < most/2 || wait > most {
				t.Errorf("dial %d came %v after the one before, want %v to %v", i+1, wait, most/2, most)
			}
			most = min(2*most, 2*time.Second)
		}
		t.Log(dials)
	})
}

// TestSilentCarrier has a carrier neither fail nor carry anything.
func TestSilentCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan error, 1)
		var r *rig
		var stalls []*stalled
		r = newRig(t, func() (a, b net.Conn) {
			a, b = bufferedPipe()
			s := &stalled{Conn: a, stall: make(chan bool)}
			stalls = append(stalls, s)
			return s, b
		}, true, func(client, server *mux.Config) {
			client.KeepAlive, client.Timeout = time.Second, 3*time.Second
			client.Resume.Lost = func(_ *mux.Session, err error) { lost <- err }
		})
		start := time.Now()
		close(stalls[0].stall)
		err := <-lost
		if took := time.Since(start); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("the carrier was lost after %v", took)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the carrier was lost for %v", err)
		}
		r.speaks("after a silent carrier")
		if n := r.client.Stats().Resumed; n != 1 {
			t.Errorf("%d resumes", n)
		}
	})
}

// A stalled connection carries nothing on from a moment.
type stalled struct {
	net.Conn
	stall chan bool
}

func (s *stalled) Write(p []byte) (int, error) {
	select {
	case <-s.stall:
		return len(p), nil
	default:
		return s.Conn.Write(p)
	}
}

// TestDetachedCalls makes calls while there is no carrier.
func TestDetachedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const retain = 100_000
		r := newBreakable(t, func(client, server *mux.Config) {
			client.Resume.Retain = retain
			server.Limits.StreamWindow = 1 << 20
		})
		st, other := streamPair(t, r.client, r.server)
		r.cut()

		// Reads and Writes wait, and their deadlines work.
		st.SetDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		st.SetDeadline(time.Now().Add(time.Second))
		sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
		n := 0
		for n < len(sent) {
			k, err := st.Write(sent[n:min(n+10_000, len(sent))])
			n += k
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %v", err)
				}
				break
			}
		}
		if n < retain-10_000 || n > retain+128<<10 {
			t.Errorf("%d bytes were written with no carrier, want %d or so", n, retain)
		}
		st.SetDeadline(time.Time{})

		// Pings and Opens wait for nothing but their contexts.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.client.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ping: %v", err)
		}
		opened, err := r.client.Open(context.Background())
		if err != nil {
			t.Errorf("open: %v", err)
		}
		opened.Close()
		st.CloseWrite()

		r.calm()
		got, err := io.ReadAll(other)
		if err != nil || !bytes.Equal(got, sent[:n]) {
			t.Errorf("got %d bytes of %d, %v", len(got), n, err)
		}
		if _, err := r.client.Ping(context.Background()); err != nil {
			t.Error(err)
		}
		if rtt := r.client.RTT(); rtt > time.Second {
			t.Errorf("the time without carrier counts as a round trip of %v", rtt)
		}
		other.Close()
		st.Close()
	})
}

// TestDetachedClose closes ends that have no carrier.
func TestDetachedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBreakable(t, nil)
		st, _ := streamPair(t, r.client, r.server)
		r.cut()
		start := time.Now()
		r.client.CloseWithError(5, "enough")
		if took := time.Since(start); took > 0 {
			t.Errorf("Close took %v", took)
		}
		if _, err := st.Write([]byte("x")); !errors.Is(err, &mux.SessionError{Code: 5}) {
			t.Errorf("write: %v", err)
		}
		<-r.server.Done()
		if took := time.Since(start); took != patience {
			t.Errorf("the server has waited for %v", took)
		}
	})
}

// TestIdleKeepsNothing has a session at rest keep next to nothing.
func TestIdleKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, bufferedPipe, false, nil)
		st, other := streamPair(t, r.client, r.server)
		go io.Copy(other, other)
		sent := make([]byte, 1<<20)
		go st.Write(sent)
		io.ReadFull(st, sent)
		time.Sleep(time.Second)
		for _, s := range []*mux.Session{r.client, r.server} {
			if n := s.Stats().Retained; n > 12 {
				t.Errorf("%d bytes are kept", n)
			}
		}
		st.Close()
		other.Close()
	})
}

// TestNoAcks plays a server that agrees to resumption, reads everything and acknowledges nothing.
func TestNoAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const retain = 1 << 20
		cfg := resumeConfig()
		cfg.Resume.Retain = retain
		cfg.KeepAlive = -1
		a, b := bufferedPipe()
		client, err := mux.Client(a, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		go io.Copy(io.Discard, b)
		b.Write(encode(fHello(helloCredit, 1<<30, helloLimit, 1<<30, helloStreams, 1000, 4, 1)))
		var wg sync.WaitGroup
		for range 100 {
			st, err := client.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				st.SetDeadline(time.Now().Add(time.Minute))
				if _, err := st.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %v", err)
				}
			})
		}
		wg.Wait()
		if n := client.Stats().Retained; n < retain || n > retain+200<<10 {
			t.Errorf("%d bytes are kept, of %d", n, retain)
		}
		// Control frames end it in the end.
		for client.Err() == nil {
			st, err := client.Open(context.Background())
			if err != nil {
				break
			}
			st.Reset(1)
			b.Write(encode(fReset(st.ID(), 1), fStreams(1<<40)))
			st.Close()
			synctest.Wait()
		}
		var end *mux.SessionError
		if !errors.As(client.Err(), &end) || !end.Protocol || end.Code != codeFlood {
			t.Errorf("the session's error is %v", client.Err())
		}
		b.Close()
	})
}

// TestNotAgreed has only one end want resumption: the session works, and ends with its carrier.
func TestNotAgreed(t *testing.T) {
	for _, tt := range []struct {
		name           string
		client, server *mux.Config
		acceptor       bool
	}{
		{"client alone", resumeConfig(), nil, true},
		{"server alone", nil, resumeConfig(), true},
		{"no acceptor", resumeConfig(), resumeConfig(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := bufferedPipe()
				client, err := mux.Client(a, tt.client)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				server, err := mux.Server, error(nil)
				if tt.acceptor {
					server = func(c io.ReadWriteCloser, cfg *mux.Config) (*mux.Session, error) {
						s, _, err := mux.NewAcceptor(cfg).Serve(context.Background(), c)
						return s, err
					}
				}
				s, err := server(b, tt.server)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				r := &rig{TB: t, client: client, server: s}
				r.speaks("without resumption")
				r.serving.Wait()
				for _, s := range []*mux.Session{client, s} {
					if n := s.Stats().Retained; n != 0 {
						t.Errorf("%d bytes are kept", n)
					}
				}
				c, d := bufferedPipe()
				defer d.Close()
				if err := client.Resume(context.Background(), c); err == nil || !strings.Contains(err.Error(), "not agreed") {
					t.Errorf("resume: %v", err)
				}
				if err := s.Resume(context.Background(), d); err == nil || !strings.Contains(err.Error(), "only the client") {
					t.Errorf("resume of the server's end: %v", err)
				}
				a.Close()
				<-client.Done()
				<-s.Done()
			})
		})
	}
}

// TestAcceptorClose closes an acceptor: sessions go on, and are not resumed.
func TestAcceptorClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBreakable(t, nil)
		waiting := newBreakable(t, nil)
		waiting.cut()
		r.acceptor.Close()
		waiting.acceptor.Close()
		<-waiting.server.Done()
		r.speaks("after the acceptor's Close")
		a, b := bufferedPipe()
		defer a.Close()
		if _, _, err := r.acceptor.Serve(context.Background(), b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		r.cut()
		<-r.server.Done()
	})
}

// TestResumeTLS resumes a session between TLS carriers, and goes on with plain ones and back.
func TestResumeTLS(t *testing.T) {
	tls := func() (a, b net.Conn) { return tlsPair(t) }
	for _, tt := range []struct {
		name          string
		first, second func() (a, b net.Conn)
	}{
		{"tls", tls, tls},
		{"tls, then tcp", tls, tcpPairs(t)},
		{"tcp, then tls", tcpPairs(t), tls},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.first, true, nil)
			r.pair = tt.second
			for range 3 {
				r.calm()
				r.speaks("after a move")
			}
		})
	}
}

// TestResumeAllocs has bulk and ping-pong allocate nothing in steady state, both ends counted.
func TestResumeAllocs(t *testing.T) {
	if raceDetector {
		t.Skip("allocations can't be counted with the race detector")
	}
	client, server := resumePair(t, &mux.Resume{})
	for _, tt := range []struct {
		name string
		make func(testing.TB, *mux.Session, *mux.Session) func(int)
		n    int
	}{
		{"bulk", tput1, 1000},
		{"ping-pong", ping1, 1000},
	} {
		run := tt.make(t, client, server)
		run(tt.n)
		if n := testing.AllocsPerRun(5, func() { run(tt.n) }) / float64(tt.n); n > 0.05 {
			t.Errorf("%s: %v allocations per operation", tt.name, n)
		}
	}
}
