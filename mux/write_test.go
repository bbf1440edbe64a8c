package mux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// What a Write that its deadline has ended says it has written is exactly what arrives, and once it has returned its buffer
// is the caller's: nothing that is put there afterwards is sent, and the race detector sees nobody read it.
func TestWriteDeadlines(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			for seed := range uint64(2) {
				a, b := carrier.pair(t)
				if carrier.bubble {
					a, b = watchPair(t, a, b) // the others would not be written to directly any more
				}
				client, server := sessionsOn(t, a, b, nil, nil)
				testWriteDeadlines(t, seed, 70, client, server)
			}
		})
	}
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("bubble, direct %v", direct), func(t *testing.T) {
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) {
					a, b := link{delay: 50 * time.Microsecond, rate: 200e6}.pair(t)
					a, b = watchPair(t, a, b)
					client, server := sessionsOn(t, a, b, nil, nil)
					if direct {
						mux.SetDirect(client)
						mux.SetDirect(server)
					}
					testWriteDeadlines(t, seed, 70, client, server)
				})
			}
		})
	}
}

// testWriteDeadlines writes on several streams in both directions, some bytes of random number at a time with random
// deadlines, while the other end reads by fits and starts.
func testWriteDeadlines(t *testing.T, seed uint64, writes int, client, server *mux.Session) {
	t.Helper()
	const pairs = 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	timeouts := 0
	transfer := func(n uint64, from, to *mux.Stream) {
		counts := make(chan int, 1)
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, n))
			total, late, err := writeByDeadlines(from, rnd, writes)
			if err != nil {
				t.Errorf("seed %d, stream %d: Write: %v", seed, n, err)
			}
			counts <- total
			mu.Lock()
			timeouts += late
			mu.Unlock()
		})
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, n+1000))
			got, err := readByFits(to, rnd)
			if err != nil {
				t.Errorf("seed %d, stream %d: Read: %v", seed, n, err)
				from.Reset(0)
			}
			if want := <-counts; got != want {
				t.Errorf("seed %d, stream %d: %d bytes have come, and Write says %d", seed, n, got, want)
			}
		})
	}
	for i := range uint64(pairs) {
		c, s := streamPair(t, client, server)
		transfer(2*i, c, s)
		transfer(2*i+1, s, c)
	}
	wg.Wait()
	for _, s := range []*mux.Session{client, server} {
		if err := errors.Join(s.Err(), s.Check()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if timeouts == 0 {
		t.Errorf("seed %d: no Write met its deadline", seed)
	}
	client.Close()
	server.Close()
}

// writeByDeadlines writes the pattern, and returns how much of it was written, by what Write has returned, and how often the
// deadline came before.
func writeByDeadlines(st *mux.Stream, rnd *rand.Rand, writes int) (total, late int, err error) {
	buf := make([]byte, 300<<10)
	for range writes {
		size := 1 + rnd.IntN(100)
		switch rnd.IntN(4) {
		case 0:
			size = 1 + rnd.IntN(len(buf))
		case 1:
			size = 1 + rnd.IntN(40<<10)
		}
		p := buf[:size]
		copy(p, pattern(total, size))
		switch rnd.IntN(8) {
		case 0:
			st.SetWriteDeadline(time.Time{})
		case 1:
			st.SetWriteDeadline(time.Now().Add(-1))
		default:
			st.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(1 << (8 + rnd.IntN(13))))))
		}
		n, err := st.Write(p)
		for i := range p {
			p[i] = 0xEE // the caller's again
		}
		total += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			late++
		case err != nil:
			return total, late, err
		case n != size:
			return total, late, fmt.Errorf("%d of %d bytes and no error", n, size)
		}
	}
	return total, late, st.CloseWrite()
}

// readByFits reads to the end, with pauses and deadlines, and checks that it is the pattern.
func readByFits(st *mux.Stream, rnd *rand.Rand) (total int, err error) {
	buf := make([]byte, 200<<10)
	for {
		size := 1 + rnd.IntN(1<<(1+rnd.IntN(17)))
		if rnd.IntN(4) == 0 {
			st.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(200_000))))
		} else {
			st.SetReadDeadline(time.Time{})
		}
		if rnd.IntN(50) == 0 {
			<-time.After(time.Duration(rnd.IntN(500_000)))
		}
		n, err := st.Read(buf[:size])
		if !bytes.Equal(buf[:n], pattern(total, n)) {
			return total, fmt.Errorf("%d bytes from %d on are not what was written", n, total)
		}
		total += n
		switch {
		case err == io.EOF:
			return total, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if n > 0 {
				return total, fmt.Errorf("%d bytes and %w", n, err)
			}
		case err != nil:
			return total, err
		}
	}
}

// A Write waits for the session's credit. It gets it in the moment in which the stream ends: nothing of it goes behind the
// end.
func TestCreditMeetsEnd(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		end  func(st *mux.Stream)
	}{
		{"Close", func(st *mux.Stream) { st.Close() }},
		{"CloseWrite", func(st *mux.Stream) { st.CloseWrite() }},
		{"Reset", func(st *mux.Stream) { st.Reset(1) }},
		{"deadline", func(st *mux.Stream) { st.SetWriteDeadline(time.Unix(1, 0)) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			for range 30 {
				testCreditMeetsEnd(t, x.end)
			}
		})
	}
}

func testCreditMeetsEnd(t *testing.T, end func(st *mux.Stream)) {
	a, b := pipe.New(2 << 20)
	s, err := mux.Client(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer b.Close()
	if _, err := b.Write(encode(fHello(helloCredit, 1<<30, helloLimit, 1<<20, helloStreams, 100), fPing(9))); err != nil {
		t.Fatal(err)
	}
	for { // until the session knows its limits
		f, err := readFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if f == fPong(9) {
			break
		}
	}
	st, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := st.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
		t.Fatal(n, err)
	}
	write := beginWrite(st, "one more")
	for i := 0; s.Starved() == 0; i++ {
		if i == 10_000 {
			t.Fatal("the Write does not wait")
		}
		time.Sleep(time.Microsecond)
	}
	s.Raise(2 << 20)
	end(st)
	_ = write.wait(t)
	st.CloseWrite()
	b.Write(encode(fPing(10)))
	total, ended := 0, false
	for {
		f, err := readFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		switch f.kind {
		case data, data | flag, reset:
			if ended {
				t.Fatalf("%v behind the end", f)
			}
			ended = f.kind != data
			if f.kind != reset {
				total += len(f.payload)
			}
		case pong:
			if want := 1<<20 + write.v; total != want {
				t.Fatalf("got %d bytes, want %d", total, want)
			}
			return
		}
	}
}

// A Close of the session lets what was written before go first, though a Write is in the middle of writing.
func TestCloseDuringWrite(t *testing.T) {
	for _, network := range []struct {
		name string
		pair func(testing.TB) (a, b net.Conn)
	}{{"tcp", tcpPair}, {"tls", tlsPair}, {"unix", unixPair}} {
		t.Run(network.name, func(t *testing.T) {
			a, b := network.pair(t)
			defer b.Close()
			s, err := mux.Client(a, nil)
			if err != nil {
				t.Fatal(err)
			}
			// The peer has given much credit and does not read, so that the carrier is full.
			if _, err := b.Write(encode(fHello(helloCredit, 1<<30, helloLimit, 1<<30, helloStreams, 100))); err != nil {
				t.Fatal(err)
			}
			st, err := s.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write := begin(func() (int, error) { return writePattern(st) })
			for sent := uint64(1); sent != s.Stats().Sent; time.Sleep(20 * time.Millisecond) { // until it makes no headway
				sent = s.Stats().Sent
			}
			closed := beginErr(func() error { return s.CloseWithError(3, "enough") })
			wantErr(t, write.wait(t), "write", &mux.SessionError{Code: 3, Reason: "enough"})
			b.SetReadDeadline(time.Now().Add(patience))
			total := 0
			var last frame
			for {
				f, err := readFrame(b)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if last = f; f.kind == data {
					if f.payload != string(pattern(total, len(f.payload))) {
						t.Fatal("the bytes are not those that were written")
					}
					total += len(f.payload)
				}
			}
			if want := fClose(3, "enough"); last != want {
				t.Errorf("the last frame is %v, want %v", last, want)
			}
			if total != write.v {
				t.Errorf("got %d bytes, and Write says %d", total, write.v)
			}
			b.Close()
			closed.wait(t)
		})
	}
}

// writePattern writes the pattern until that fails, and returns how much.
func writePattern(w io.Writer) (total int, err error) {
	for err == nil {
		var n int
		n, err = w.Write(pattern(total, 100_000))
		total += n
	}
	return total, err
}

// Many Writes at once on one stream: each goes as a whole, whatever its size.
func TestConcurrentWrites(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		c, s := w.pair()
		const writers, each, size = 10, 20, 5000
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for range each {
					if _, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() { wg.Wait(); c.CloseWrite() }()
		got, err := io.ReadAll(s)
		if err != nil || len(got) != writers*each*size {
			w.Fatalf("got %d bytes, %v", len(got), err)
		}
		for i := 0; i < len(got); i += size {
			if !bytes.Equal(got[i:i+size], bytes.Repeat(got[i:i+1], size)) {
				w.Fatalf("the Write at %d is mixed with others", i)
			}
		}
		w.check()
	})
}

// Many Reads at once on one stream: each byte goes to one of them.
func TestConcurrentReads(t *testing.T) {
	inBubble(t, nil, func(w *two) {
		c, s := w.pair()
		var mu sync.Mutex
		var counts [256]int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				buf := make([]byte, 1000*(i+1))
				for {
					n, err := s.Read(buf)
					mu.Lock()
					for _, b := range buf[:n] {
						counts[b]++
					}
					mu.Unlock()
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		const size = 1 << 20
		var want [256]int
		for _, b := range pattern(0, size) {
			want[b]++
		}
		beginWrite(c, text(size)).want(w, size)
		c.CloseWrite()
		wg.Wait()
		if counts != want {
			w.Error("the Reads have not got what was written")
		}
		w.check()
	})
}

// The carrier fails, under a Write that writes to it, just when the session is closed: nothing is left.
func TestCloseMeetsFault(t *testing.T) {
	for i := range 400 {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer(t, mode{i%2 == 0, i%4 < 2 || i%8 == 7}, nil, smallCarrier)
			p.greet(helloCredit, 1<<20, helloLimit, 1<<30, helloStreams, 100)
			st := p.open(1)
			write := beginWrite(st, text(500_000))
			write.wantBlocked(t)
			var wg sync.WaitGroup
			wg.Go(func() { p.conn.Close() })
			wg.Go(func() { p.s.Close() })
			wg.Wait()
			if _, err := write.result(t); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write: got %v", err)
			}
		})
	}
}
