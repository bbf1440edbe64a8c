package mux_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// A late connection's Read returns errors only when it is let go.
type late struct {
	net.Conn
	letGo chan bool
}

func (c late) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		<-c.letGo
	}
	return n, err
}

// TestOvertakenProof has a server verify a second proof while it still lets go of the carrier for the first: that one has
// no prospect and ends at once, not when its time is over, and so does a handshake without a proof.
func TestOvertakenProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan bool)
		r := newRig(t, func() (a, b net.Conn) {
			a, b = bufferedPipe()
			return a, late{b, letGo}
		}, false, nil)
		time.Sleep(time.Second) // everything is acknowledged
		var carriers [3]*lateProof
		var served [3]chan error
		for i := range carriers {
			a, b := bufferedPipe()
			defer a.Close()
			carriers[i], served[i] = &lateProof{Conn: a}, make(chan error, 1)
			go func() {
				_, _, err := r.acceptor.Serve(context.Background(), b)
				served[i] <- err
			}()
			if err := r.client.Resume(context.Background(), carriers[i]); !errors.Is(err, errCut) {
				t.Errorf("resume %d: %v", i, err)
			}
		}
		carriers[1].Conn.Write(carriers[1].proof)
		synctest.Wait()
		carriers[2].Conn.Write(carriers[2].proof)
		synctest.Wait()
		for i := range 2 {
			select {
			case err := <-served[i]:
				if err == nil || !strings.Contains(err.Error(), "overtaken") {
					t.Errorf("handshake %d: got error %v, want that it is overtaken", i, err)
				}
			default:
				t.Errorf("handshake %d goes on", i)
			}
		}
		close(letGo)
		if err := <-served[2]; err != nil {
			t.Errorf("the last handshake: %v", err)
		}
		for _, c := range carriers {
			c.Conn.Close()
		}
		synctest.Wait()
		r.calm()
		r.speaks("after all")
	})
}

// TestTooManyWait has strangers make sessions and abandon them. No more than the acceptor's limit are kept, an older one that
// waits among them is not the one to go, and nothing is left of any in the end.
func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, strangers = 5, 50
		r := newBreakable(t, func(_, server *mux.Config) { server.Resume.MaxWaiting = most })
		time.Sleep(time.Second)
		var sessions []*mux.Session
		for i := range strangers {
			a, b := bufferedPipe()
			client, err := mux.Client(a, resumeConfig())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, _, err := r.acceptor.Serve(context.Background(), b)
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, server)
			time.Sleep(time.Millisecond)
			if i == strangers/2 {
				r.cut()
			}
			a.Close()
			synctest.Wait()
			if _, waiting := r.acceptor.Known(); waiting > most {
				t.Fatalf("after %d sessions %d wait, want at most %d", i+1, waiting, most)
			}
		}
		live := 0
		for _, s := range sessions {
			var end *mux.SessionError
			switch err := s.Err(); {
			case err == nil:
				live++
			case !errors.As(err, &end) || !strings.Contains(err.Error(), "too many sessions wait for a new one"):
				t.Errorf("a session has ended with %v", err)
			}
		}
		if live != most-1 {
			t.Errorf("%d of the strangers' sessions wait, want %d", live, most-1)
		}
		r.calm()
		r.speaks("among strangers")
		time.Sleep(2 * patience) // their time is over
		if sessions, waiting := r.acceptor.Known(); sessions != 1 || waiting != 0 {
			t.Errorf("in the end %d sessions are known and %d wait, want 1 and 0", sessions, waiting)
		}
	})
}

// TestAbandoned ends sessions at the moment in which their keys come: the acceptor keeps none of them.
func TestAbandoned(t *testing.T) {
	acceptor := mux.NewAcceptor(resumeConfig())
	defer acceptor.Close()
	for i := range 300 {
		a, b := bufferedPipe()
		client, err := mux.Client(a, resumeConfig())
		if err != nil {
			t.Fatal(err)
		}
		server, _, err := acceptor.Serve(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		for range i % 20 * 20 {
			_ = server.Stats() // a moment, longer or shorter
		}
		server.Close()
		client.Close()
	}
	if sessions, waiting := acceptor.Known(); sessions+waiting > 0 {
		t.Errorf("%d sessions are known, and %d wait", sessions, waiting)
	}
}
