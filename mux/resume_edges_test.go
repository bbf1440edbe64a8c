package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// budgets returns how many bytes each of the four ways through a carrier may take, if one of them may take n.
func budgets(way int, n int64) (left [4]int64) {
	left = [4]int64{never, never, never, never}
	left[way] = n
	return left
}

// TestCutEverywhere cuts a carrier behind every single byte that each end reads or writes, those of the handshake included.
func TestCutEverywhere(t *testing.T) {
	t.Parallel()
	ways := []string{"client reads", "client writes", "server reads", "server writes"}
	step := int64(3)
	if long() {
		step = 1
	}
	for way, name := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			for n := int64(0); ; n += step {
				runs++
				if !cutAt(t, way, n) || t.Failed() {
					break
				}
			}
			t.Logf("%d cuts", runs-1)
		})
	}
}

// cutAt has a small load carried by a carrier that is cut, and then by others. It is false if the load was done before.
func cutAt(t *testing.T, way int, n int64) (wasCut bool) {
	r := newRig(t, bufferedPipe, true, nil)
	defer r.serving.Wait()
	left := budgets(way, n)
	var c, d *cutConn
	r.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
		if c != nil {
			return a, b
		}
		c, d = newCutConn(a, left[0], left[1]), newCutConn(b, left[2], left[3])
		return c, d
	}
	first, _ := r.dial(context.Background())
	was := r.client.Stats().Resumed
	if err := r.client.Resume(context.Background(), first); err != nil {
		if r.client.Err() != nil || r.client.Stats().Resumed != was {
			t.Errorf("byte %d: the old carrier should go on: %v, %v", n, err, r.client.Err())
		}
		first, _ = r.dial(context.Background())
		if err := r.client.Resume(context.Background(), first); err != nil {
			t.Errorf("byte %d: %v", n, err)
		}
	}
	l := &load{rig: r, seed: uint64(n), streams: 4, size: 200}
	l.run()
	if l.failed.Load() {
		t.Errorf("cut behind byte %d", n)
	}
	wasCut = c.reads.Load() <= 0 || c.writes.Load() <= 0 || d.reads.Load() <= 0 || d.writes.Load() <= 0
	r.calm()
	r.client.Close()
	<-r.server.Done()
	r.server.Close()
	return wasCut
}

// TestCutBeginning cuts a session's first carrier behind every byte of its beginning. Either the session goes on, or it has
// ended on both ends and everything has returned.
func TestCutBeginning(t *testing.T) {
	t.Parallel()
	for way, name := range []string{"client reads", "client writes", "server reads", "server writes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := int64(0); n < 400 && !t.Failed(); n += 3 {
				cutBeginning(t, way, n)
			}
		})
	}
}

func cutBeginning(t *testing.T, way int, n int64) {
	left := budgets(way, n)
	a, b := bufferedPipe()
	a, b = newCutConn(a, left[0], left[1]), newCutConn(b, left[2], left[3])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	acceptor := mux.NewAcceptor(&mux.Config{Resume: &mux.Resume{Grace: 20 * time.Millisecond}})
	defer acceptor.Close()
	serve := func(b net.Conn) {
		serving.Go(func() {
			s, resumed, err := acceptor.Serve(ctx, b)
			if err != nil || resumed {
				return
			}
			defer s.Close()
			for {
				st, err := s.Accept(ctx)
				if err != nil {
					return
				}
				io.Copy(st, st)
				st.Close()
			}
		})
	}
	serve(b)
	client, err := mux.Client(a, &mux.Config{Resume: &mux.Resume{Grace: patience, Dial: func(context.Context) (io.ReadWriteCloser, error) {
		a, b := bufferedPipe()
		serve(b)
		return a, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = echoOnce(ctx, client)
	if err == nil {
		return
	}
	var end *mux.SessionError
	if !errors.As(err, &end) || client.Err() == nil {
		t.Errorf("byte %d: %v; the session's error is %v", n, err, client.Err())
	}
}

// echoOnce sends something on a stream and wants it back.
func echoOnce(ctx context.Context, s *mux.Session) error {
	st, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := st.Write([]byte("hello")); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(st)
	if err == nil && string(got) != "hello" {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// TestMoveUnderLoad moves a session again and again while its carriers work, alone and several moves at once.
func TestMoveUnderLoad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		pair  func() (a, b net.Conn)
		moves int // at once
	}{
		{"pipe", bufferedPipe, 1},
		{"net.Pipe", net.Pipe, 1},
		{"tcp", tcpPairs(t), 1},
		{"tls", func() (a, b net.Conn) { return tlsPair(t) }, 1},
		{"without interruption", func() (a, b net.Conn) { a, b = bufferedPipe(); return undeadlined{a}, undeadlined{b} }, 1},
		{"pipe, at once", bufferedPipe, 3},
		{"tcp, at once", tcpPairs(t), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.pair, true, nil)
			done := make(chan bool)
			var movers sync.WaitGroup
			var moved [3]int
			for i := range tt.moves {
				movers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						c, _ := r.dial(context.Background())
						err := r.client.Resume(context.Background(), c)
						switch {
						case err == nil:
							moved[i]++
						case tt.moves == 1:
							t.Errorf("move: %v", err)
							return
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			l := &load{rig: r, seed: 1, streams: 100, size: 100 << 10}
			l.run()
			close(done)
			movers.Wait()
			t.Logf("%v moves, %d in all", moved, r.client.Stats().Resumed)
			if r.client.Stats().Resumed == 0 {
				t.Error("the session was never moved")
			}
		})
	}
}

// undeadlined is a net.Conn whose calls no deadline ends.
type undeadlined struct{ net.Conn }

var errNoDeadline = errors.New("no deadlines here")

func (undeadlined) SetDeadline(time.Time) error      { return errNoDeadline }
func (undeadlined) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (undeadlined) SetWriteDeadline(time.Time) error { return errNoDeadline }
