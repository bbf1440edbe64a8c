package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// Sizes of the frames that a carrier begins with, headers included.
const (
	resumeFrame    = 12 + 16 + 8 + 32
	challengeFrame = 12 + 32 + 8 + 32
	proofFrame     = 12 + 8 + 8 + 32
	refusal        = 18 // kind of a refuse frame
)

// A wire is a connection whose bytes are recorded, and one of which is changed on its way out.
type wire struct {
	net.Conn
	flip int // which byte, -1 for none

	mu      sync.Mutex
	written []byte
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := len(w.written)
	w.written = append(w.written, p...)
	if at <= w.flip && w.flip < at+len(p) {
		p = append([]byte(nil), p...)
		p[w.flip-at] ^= 1 << (w.flip % 8)
	}
	return w.Conn.Write(p)
}

// speaks fails if the session's two ends do not carry bytes.
func (r *rig) speaks(when string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.serving.Go(func() {
		st, err := r.server.Accept(ctx)
		if err != nil {
			return
		}
		io.Copy(st, st)
		st.Close()
	})
	if err := echoOnce(ctx, r.client); err != nil {
		r.Errorf("%s: %v", when, err)
	}
}

// TestFlippedBit changes each byte of a handshake. The server never switches; what the client does leaves the session intact.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	flip := func(t *testing.T, fromClient bool, at int) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, bufferedPipe, false, nil)
			a, b := bufferedPipe()
			c, d := &wire{Conn: a, flip: -1}, &wire{Conn: b, flip: -1}
			if fromClient {
				c.flip = at
			} else {
				d.flip = at
			}
			refused := make(chan error, 1)
			go func() {
				_, _, err := r.acceptor.Serve(context.Background(), d)
				refused <- err
			}()
			err := r.client.Resume(context.Background(), c)
			if inProof := fromClient && at >= resumeFrame; (err == nil) != inProof {
				t.Errorf("byte %d: the client's error is %v", at, err)
			}
			if err := <-refused; err == nil {
				t.Errorf("byte %d: the server has switched", at)
			}
			if n := r.server.Stats().Resumed; n != 0 {
				t.Errorf("byte %d: %d resumes", at, n)
			}
			synctest.Wait()
			if err == nil { // the client has left its old carrier, and is back without one
				r.calm()
			}
			r.speaks("after a flip")
		})
	}
	for at := range resumeFrame + proofFrame {
		flip(t, true, at)
	}
	for at := range challengeFrame {
		flip(t, false, at)
	}
}

// recorded moves a session, and returns what the two ends have sent for that.
func (r *rig) recorded() (fromClient, fromServer []byte) {
	a, b := bufferedPipe()
	c, d := &wire{Conn: a, flip: -1}, &wire{Conn: b, flip: -1}
	r.serve(d)
	if err := r.client.Resume(context.Background(), c); err != nil {
		r.Fatal(err)
	}
	r.serving.Wait()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.written[:resumeFrame+proofFrame], d.written[:challengeFrame]
}

// TestReplay repeats handshakes that others have had.
func TestReplay(t *testing.T) {
	tests := []struct {
		name string
		send func(resume, proof []byte) [][]byte
		want byte // kind of what comes back; 0 is nothing
		err  string
	}{
		{"as it was", func(resume, proof []byte) [][]byte { return [][]byte{resume, proof} }, refusal, "newer carrier"},
		{"with a higher epoch", func(resume, proof []byte) [][]byte {
			binary.BigEndian.PutUint64(resume[12+16:], 1000)
			return [][]byte{resume, proof}
		}, 16, "has not the session's keys"},
		{"of another session", func(resume, proof []byte) [][]byte {
			resume[12]++
			return [][]byte{resume, proof}
		}, refusal, "not known"},
		{"the proof alone", func(_, proof []byte) [][]byte { return [][]byte{proof} }, 0, "what came is not"},
		{"the proof first", func(resume, proof []byte) [][]byte { return [][]byte{proof, resume} }, 0, "what came is not"},
		{"twice the beginning", func(resume, _ []byte) [][]byte {
			binary.BigEndian.PutUint64(resume[12+16:], 1000)
			return [][]byte{resume, resume}
		}, 16, "what came is not"},
		{"cut in the beginning", func(resume, _ []byte) [][]byte { return [][]byte{resume[:30]} }, 0, "too long"},
		{"cut before the proof", func(resume, _ []byte) [][]byte {
			binary.BigEndian.PutUint64(resume[12+16:], 1000)
			return [][]byte{resume}
		}, 16, "too long"},
		{"cut in the proof", func(resume, proof []byte) [][]byte {
			binary.BigEndian.PutUint64(resume[12+16:], 1000)
			return [][]byte{resume, proof[:30]}
		}, 16, "too long"},
		{"nothing", func(_, _ []byte) [][]byte { return nil }, 0, "too long"},
		{"of another protocol", func(_, _ []byte) [][]byte { return [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")} }, 0, "what came is not"},
		{"of another version", func(resume, _ []byte) [][]byte { resume[11]++; return [][]byte{resume} }, 0, "version 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, bufferedPipe, false, nil)
				said, _ := r.recorded()
				frames := tt.send(said[:resumeFrame:resumeFrame], said[resumeFrame:])
				a, b := bufferedPipe()
				defer a.Close()
				start, refused := time.Now(), make(chan error, 1)
				go func() {
					_, _, err := r.acceptor.Serve(context.Background(), b)
					refused <- err
				}()
				for _, f := range frames {
					a.Write(f)
				}
				answer, _ := io.ReadAll(a)
				if got := append(answer, 0)[0]; got != tt.want {
					t.Errorf("the answer begins with a frame of kind %d, want %d", got, tt.want)
				}
				if err := <-refused; err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want one with %q", err, tt.err)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if n := r.server.Stats().Resumed; n != 1 {
					t.Errorf("the server was resumed %d times, want 1", n)
				}
				r.speaks("after a replay")
			})
		})
	}
}

// TestReplayedChallenge answers a client with what a server has said to it before. The client stays with its carrier.
func TestReplayedChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, bufferedPipe, false, nil)
		_, said := r.recorded()
		a, b := bufferedPipe()
		defer b.Close()
		b.Write(said)
		err := r.client.Resume(context.Background(), a)
		if err == nil || !strings.Contains(err.Error(), "has not the session's keys") {
			t.Errorf("got error %v", err)
		}
		r.speaks("after a replay")
	})
}

// TestUnknownSession has clients come to a server that does not know them any more.
func TestUnknownSession(t *testing.T) {
	for _, detached := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first, _ := bufferedPipe()
			r := newRig(t, func() (a, b net.Conn) { a, b = bufferedPipe(); first = a; return a, b }, false, nil)
			if detached {
				first.Close()
				synctest.Wait()
			}
			other := mux.NewAcceptor(resumeConfig())
			a, b := bufferedPipe()
			go other.Serve(context.Background(), b)
			err := r.client.Resume(context.Background(), a)
			if err == nil || !strings.Contains(err.Error(), "does not know the session") {
				t.Errorf("detached %v: got error %v", detached, err)
			}
			synctest.Wait()
			if !detached {
				r.speaks("after a refusal")
				return
			}
			var end *mux.SessionError
			if err := r.client.Err(); !errors.As(err, &end) || !end.Protocol || end.Code != 9 {
				t.Errorf("the session's error is %v", err)
			}
		})
	}
}

// TestEndedSession has a client come back to a session that the server has ended meanwhile: it is told why.
func TestEndedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first net.Conn
		r := newRig(t, func() (a, b net.Conn) { a, b = bufferedPipe(); first = a; return a, b }, false, nil)
		first.Close()
		synctest.Wait()
		r.server.CloseWithError(77, "no more")
		a, b := bufferedPipe()
		go r.acceptor.Serve(context.Background(), b)
		err := r.client.Resume(context.Background(), a)
		if want := (&mux.SessionError{Code: 77, Remote: true}); !errors.Is(err, want) || !strings.Contains(err.Error(), "no more") {
			t.Errorf("got error %v, want %v", err, want)
		}
	})
}

// TestManyHandshakes begins many handshakes with one session and ends none. The one that is right comes through.
func TestManyHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, bufferedPipe, false, nil)
		said, _ := r.recorded()
		resume := said[:resumeFrame:resumeFrame]
		binary.BigEndian.PutUint64(resume[12+16:], 1000)
		refused := make(chan error, 100)
		for range 100 {
			a, b := bufferedPipe()
			defer a.Close()
			go func() {
				_, _, err := r.acceptor.Serve(context.Background(), b)
				refused <- err
			}()
			a.Write(resume)
			synctest.Wait()
		}
		if n := len(refused); n != 96 {
			t.Errorf("%d of 100 handshakes have ended, want all but 4", n)
		}
		r.calm()
		r.speaks("amid handshakes")
		for range 100 {
			if err := <-refused; err == nil {
				t.Error("a handshake without a proof has succeeded")
			}
		}
	})
}

// A lateProof is a client's carrier whose second write, the proof, fails although it arrives, later.
type lateProof struct {
	net.Conn
	writes int
	proof  []byte
}

func (c *lateProof) Write(p []byte) (int, error) {
	if c.writes++; c.writes == 2 {
		c.proof = append(c.proof, p...)
		return 0, errCut
	}
	return c.Conn.Write(p)
}

func (c *lateProof) Close() error { return nil }

// TestLateProof has a client send a proof and believe that it did not arrive, so that it goes on with its old carrier. When
// it does arrive, nothing is lost, whether the client has acknowledged more on the old carrier by then or not.
func TestLateProof(t *testing.T) {
	for _, tt := range []struct {
		name     string
		more     bool
		switches uint64
	}{{"nothing more came", false, 1}, {"more came", true, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, bufferedPipe, true, nil)
				a, b := bufferedPipe()
				defer a.Close()
				c := &lateProof{Conn: a}
				served := make(chan error, 1)
				go func() {
					_, _, err := r.acceptor.Serve(context.Background(), b)
					served <- err
				}()
				if err := r.client.Resume(context.Background(), c); !errors.Is(err, errCut) {
					t.Errorf("resume: %v", err)
				}
				if tt.more {
					r.speaks("before the proof")
					time.Sleep(time.Second) // for the acknowledgement
				}
				a.Write(c.proof)
				err := <-served
				// The client may have come back meanwhile, which is as good: its carrier is a newer one.
				if overtaken := err != nil && strings.Contains(err.Error(), "overtaken"); !overtaken || tt.switches == 0 {
					if (err == nil) != (tt.switches > 0) {
						t.Errorf("serve: %v", err)
					}
					if n := r.server.Stats().Resumed; (n > 0) != (tt.switches > 0) { // the client comes back, having lost its old carrier
						t.Errorf("the server has switched %d times; want any: %v", n, tt.switches > 0)
					}
				}
				a.Close()
				r.speaks("after the proof")
			})
		})
	}
}
