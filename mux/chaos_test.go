package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// TestChaos has both ends of sessions open, use and end streams in every way at once, on carriers of all kinds. Whatever is read is
// what was written, every error is one that the other's doing explains, nothing is left, and the session does not notice.
func TestChaos(t *testing.T) {
	lasts := 300 * time.Millisecond
	if os.Getenv("VIRTNET_TEST_LONG") == "1" {
		lasts = 20 * time.Second
	}
	for i, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			a, b := carrier.pair(t)
			if carrier.bubble { // not written to by callers anyway
				a, b = watchPair(t, a, b)
			}
			cfg := &mux.Config{Limits: mux.Limits{MaxStreams: 20 + i, SessionWindow: 1 << 20}}
			client, server := sessionsOn(t, a, b, cfg, cfg)
			testChaos(t, seed, lasts, client, server)
		})
	}
}

func testChaos(t *testing.T, seed uint64, lasts time.Duration, client, server *mux.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var wg sync.WaitGroup
	use := func(n uint64, st *mux.Stream) {
		if err := useAtRandom(st, rand.New(rand.NewPCG(seed, n))); err != nil {
			t.Errorf("stream %d: %v", st.ID(), err)
		}
	}
	accepting, stop := context.WithCancel(context.Background())
	var acceptors sync.WaitGroup
	for i, s := range []*mux.Session{client, server} {
		acceptors.Go(func() {
			for n := uint64(i+1) << 40; ; n++ {
				st, err := s.Accept(accepting)
				if err != nil {
					wantErr(t, err, "accept", context.Canceled)
					return
				}
				wg.Go(func() { use(n, st) })
			}
		})
		for k := range uint64(6) {
			wg.Go(func() {
				for n := (uint64(i)<<8 | k) << 20; ctx.Err() == nil; n++ {
					st, err := s.Open(ctx)
					if err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Open: %v", err)
						}
						return
					}
					use(n, st)
				}
			})
		}
	}
	for checks := 0; ctx.Err() == nil; checks++ {
		if err := errors.Join(client.Check(), server.Check(), client.Err(), server.Err()); err != nil {
			t.Error(err)
			break
		}
		<-time.After(time.Millisecond)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		client.Close()
		server.Close()
		t.Fatalf("streams hang: %d and %d are left", client.NumStreams(), server.NumStreams())
	}
	// Some that were opened last are still to be accepted.
	for end := time.Now().Add(patience); client.NumStreams()+server.NumStreams() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	stop()
	acceptors.Wait()
	wg.Wait()
	if n := [2]int{client.NumStreams(), server.NumStreams()}; n != [2]int{} {
		t.Errorf("%d streams are left", n)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := mux.CheckPair(client, server)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	t.Logf("%d streams, %d MB", client.Stats().Opened+server.Stats().Opened, (client.Stats().Sent+server.Stats().Sent)>>20)
}

// useAtRandom writes and reads, and ends the stream in some way.
func useAtRandom(st *mux.Stream, rnd *rand.Rand) error {
	var wg sync.WaitGroup
	var readErr, writeErr error
	seeds := [2]uint64{rnd.Uint64(), rnd.Uint64()}
	wg.Go(func() { writeErr = writeAtRandom(st, rand.New(rand.NewPCG(seeds[0], 1))) })
	wg.Go(func() {
		readErr = readAtRandom(st, rand.New(rand.NewPCG(seeds[1], 2)))
		st.CloseRead() // or the other end's Write may wait for ever
	})
	switch rnd.IntN(6) {
	case 0: // ends while it is used
		<-time.After(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		st.Reset(rnd.Uint64())
	case 1:
		<-time.After(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		st.Close()
	case 2:
		<-time.After(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		st.CloseRead()
	}
	wg.Wait()
	return errors.Join(st.Close(), readErr, writeErr)
}

// expected tells whether an error can come of what the two users of a stream do to it.
func expected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !errors.As(err, new(*mux.SessionError)) &&
		(errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded))
}

func writeAtRandom(st *mux.Stream, rnd *rand.Rand) error {
	buf := make([]byte, 200<<10)
	for total, left := 0, rnd.IntN(1<<(1+rnd.IntN(20))); left > 0; {
		p := buf[:1+rnd.IntN(min(left, 1<<(1+rnd.IntN(17)), len(buf)))]
		copy(p, pattern(total, len(p)))
		if rnd.IntN(5) == 0 {
			st.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(300)) * time.Microsecond))
		} else if rnd.IntN(3) == 0 {
			st.SetWriteDeadline(time.Time{})
		}
		n, err := st.Write(p)
		clear(p)
		total += n
		left -= len(p)
		if err != nil && !expected(err) {
			return fmt.Errorf("at %d: %w", total, err)
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
	}
	if err := st.CloseWrite(); err != nil && !expected(err) {
		return err
	}
	return nil
}

func readAtRandom(st *mux.Stream, rnd *rand.Rand) error {
	buf := make([]byte, 200<<10)
	end := rnd.IntN(1 << (1 + rnd.IntN(21))) // not all of it, perhaps
	for total := 0; total < end; {
		switch rnd.IntN(6) {
		case 0:
			st.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(300)) * time.Microsecond))
		case 1:
			<-time.After(time.Duration(rnd.IntN(300)) * time.Microsecond)
		default:
			st.SetReadDeadline(time.Now().Add(time.Second)) // the other end may have left it as it is
		}
		n, err := st.Read(buf[:1+rnd.IntN(1<<(1+rnd.IntN(17)))])
		if !bytes.Equal(buf[:n], pattern(total, n)) {
			return fmt.Errorf("%d bytes from %d on are not what was written", n, total)
		}
		total += n
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if rnd.IntN(4) == 0 {
				return nil
			}
		case err != nil && !expected(err):
			return fmt.Errorf("at %d: %w", total, err)
		case err != nil:
			return nil
		}
	}
	return nil
}
