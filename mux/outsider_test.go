package mux_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/mux"
)

// TestOutsider has a client that is not ours resume a session: testdata/resume_client.py, which was written from
// docs/mux.md alone. Its connections are cut at random, those that bring a resume included, and it leaves some that work.
func TestOutsider(t *testing.T) {
	python := needs.Program(t, "python3")
	tests := []struct {
		name        string
		size        int
		cuts        int // how many connections in a row are cut
		most        int // behind how many bytes at most
		moves       int
		wantLeast   uint64 // resumes
		wantExactly bool
	}{
		{name: "one connection", size: 300_000, wantExactly: true},
		{name: "moves", size: 1_000_000, moves: 5, wantLeast: 5, wantExactly: true},
		{name: "cuts", size: 1_000_000, cuts: 8, most: 60_000, wantLeast: 5},
		{name: "cuts in handshakes", size: 500_000, cuts: 30, most: 250, wantLeast: 1},
		{name: "cuts and moves", size: 1_000_000, cuts: 8, most: 60_000, moves: 3, wantLeast: 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOutside(t)
			rnd := rand.New(rand.NewPCG(1, uint64(tt.size+tt.cuts)))
			for range tt.cuts {
				left := budgets(2*rnd.IntN(2), int64(rnd.IntN(tt.most)))
				o.cuts = append(o.cuts, [2]int64{left[0], left[2]})
			}
			got := o.run(python, tt.size, tt.moves)
			text := strings.Repeat(string(bytesTo(251)), tt.size/251+1)[:tt.size]
			var size int
			var sum string
			var resumes uint64
			if _, err := fmt.Sscan(got, &size, &sum, &resumes); err != nil {
				t.Fatalf("it says %q: %v", got, err)
			}
			if want := fmt.Sprintf("%x", sha256.Sum256([]byte(text))); size != tt.size || sum != want {
				t.Errorf("it got %d bytes with the sum %s back, want %d with %s", size, sum, tt.size, want)
			}
			if resumes < tt.wantLeast || tt.wantExactly && resumes != tt.wantLeast {
				t.Errorf("it has resumed the session %d times, want %d", resumes, tt.wantLeast)
			}
			if n := o.session.Stats().Resumed; n > resumes {
				t.Errorf("the server says %d resumes, the client %d", n, resumes)
			}
			if err := o.session.Err(); err == nil || !err.(*mux.SessionError).Remote {
				t.Errorf("the session's end: %v, want the client's close", err)
			}
		})
	}
}

func bytesTo(n int) (b []byte) {
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

// An outside is a server whose sessions send back what they get.
type outside struct {
	testing.TB
	l        net.Listener
	acceptor *mux.Acceptor
	cuts     [][2]int64 // how many bytes the next connections may read and write
	first    *cutConn   // the session's first
	session  *mux.Session
	serving  sync.WaitGroup
}

func newOutside(t testing.TB) *outside {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &outside{TB: t, l: l, acceptor: mux.NewAcceptor(resumeConfig())}
}

// run serves one client, and returns what it prints.
func (o *outside) run(python string, size, moves int) string {
	o.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var accepting sync.WaitGroup
	accepting.Go(func() { o.accept(ctx) })
	_, port, _ := net.SplitHostPort(o.l.Addr().String())
	cmd := exec.CommandContext(ctx, python, "testdata/resume_client.py", port, fmt.Sprint(size), fmt.Sprint(moves))
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.Errorf("the client: %v\n%s", err, out)
	}
	o.l.Close()
	accepting.Wait()
	if o.session == nil {
		o.Fatal("there was no session")
	}
	select {
	case <-o.session.Done():
	case <-time.After(patience):
		o.Error("the session goes on")
	}
	o.session.Close()
	o.acceptor.Close()
	o.serving.Wait()
	return string(out)
}

func (o *outside) accept(ctx context.Context) {
	for {
		conn, err := o.l.Accept()
		if err != nil {
			return
		}
		switch {
		case o.session == nil: // this one is cut when there are keys
			o.first = newCutConn(conn, never, never)
			conn = o.first
		default:
			reads, writes := o.nextCut()
			conn = newCutConn(conn, reads, writes)
		}
		s, resumed, err := o.acceptor.Serve(ctx, conn)
		switch {
		case err != nil: // it was cut, and the client tries again
		case !resumed && o.session == nil:
			o.session = s
			reads, writes := o.nextCut()
			o.serving.Go(func() { o.echo(ctx, s, reads, writes) })
		case !resumed || s != o.session:
			o.Error("there is a second session")
			s.Close()
		}
	}
}

// nextCut tells how many bytes the next connection may read and write.
func (o *outside) nextCut() (reads, writes int64) {
	if len(o.cuts) == 0 {
		return never, never
	}
	next := o.cuts[0]
	o.cuts = o.cuts[1:]
	return next[0], next[1]
}

// echo sends back what comes. The session's first connection may read and write so many bytes from when the client sends
// data, which it does when it has the keys; before, the session could not be resumed.
func (o *outside) echo(ctx context.Context, s *mux.Session, reads, writes int64) {
	st, err := s.Accept(ctx)
	if err != nil {
		o.Errorf("accept: %v", err)
		return
	}
	defer st.Close()
	var first [1]byte
	if _, err := io.ReadFull(st, first[:]); err != nil {
		o.Errorf("echo: %v", err)
		return
	}
	o.first.reads.Store(reads)
	o.first.writes.Store(writes)
	if _, err := st.Write(first[:]); err != nil {
		o.Errorf("echo: %v", err)
	}
	if _, err := io.Copy(st, st); err != nil {
		o.Errorf("echo: %v", err)
	}
}
