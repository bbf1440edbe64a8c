package pipe

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

var seed = flag.Uint64("seed", 0, "run the random test with this seed only")

// TestRandom does random operations on a pipe and checks what must hold whatever the order: the reader gets the
// bytes that Writes said they wrote, in order, none lost, doubled or mixed, until the connection ends.
func TestRandom(t *testing.T) {
	first, last := uint64(1), uint64(300)
	if testing.Short() {
		last = 50
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	for s := first; s <= last && !t.Failed(); s++ {
		synctest.Test(t, func(t *testing.T) { random(t, s) })
		if t.Failed() {
			t.Logf("repeat with -seed=%d", s)
		}
	}
}

// random runs one seed: three writers of records, whose bytes tell if they are mixed or missing, a reader, and an end.
func random(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	size := []int{0, 0, 1, 7, 1000, 20 << 10, 64 << 10}[rnd.IntN(7)]
	maxLen := []int{3, 100, 3 * lendSize}[rnd.IntN(3)]
	a, b := New(size)

	const writers = 3
	wrote := make(chan int, writers) // sums of what Writes returned
	for range writers {
		rnd := rand.New(rand.NewPCG(seed, rnd.Uint64()))
		go func() {
			sum := 0
			defer func() { wrote <- sum }()
			for range 30 {
				p := record(1 + rnd.IntN(maxLen))
				n, err := a.Write(p)
				sum += n
				if (n < len(p)) != (err != nil) {
					t.Errorf("seed %d: write of %d: got %d, %v", seed, len(p), n, err)
				}
				clear(p) // it is ours again
				if err != nil {
					return // a deadline may have cut the record in two
				}
				if rnd.IntN(4) == 0 {
					time.Sleep(time.Duration(rnd.IntN(1000)))
				}
			}
		}()
	}

	// It ends by something now and then, and by CloseWrite at last.
	lossy := false // what is in the buffer may be lost
	at := time.Duration(1 + rnd.IntN(20000))
	switch rnd.IntN(8) {
	case 0:
		a.SetWriteDeadline(time.Now().Add(at))
	case 1:
		time.AfterFunc(at, func() { a.CloseWrite() })
	case 2:
		time.AfterFunc(at, func() { a.Close() })
	case 3:
		lossy = true
		time.AfterFunc(at, func() { b.CloseRead() })
	case 4:
		lossy = true
		time.AfterFunc(at, func() { a.Reset() })
	case 5:
		lossy = true
		time.AfterFunc(at, func() { b.Close() })
	}

	read := make(chan []byte, 1)
	go func() {
		var all []byte
		for {
			if rnd.IntN(5) == 0 {
				b.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(500) - 50)))
			}
			p := make([]byte, rnd.IntN(2*maxLen))
			n, err := b.Read(p)
			all = append(all, p[:n]...)
			if err != nil && n > 0 {
				t.Errorf("seed %d: read: got %d, %v", seed, n, err)
			}
			if err == os.ErrDeadlineExceeded {
				b.SetReadDeadline(time.Time{})
			} else if err != nil {
				read <- all
				return
			}
			if rnd.IntN(4) == 0 {
				time.Sleep(time.Duration(rnd.IntN(1000)))
			}
		}
	}()

	sum := 0
	for range writers {
		sum += <-wrote
	}
	a.CloseWrite()
	all := <-read
	if len(all) > sum || len(all) < sum && !(lossy && size > 0) {
		t.Errorf("seed %d: wrote %d, read %d", seed, sum, len(all))
	}
	for rest := all; len(rest) > 0; {
		n, ok := unrecord(rest)
		if !ok {
			t.Errorf("seed %d: bytes out of order at %d of %d", seed, len(all)-len(rest), len(all))
			break
		}
		rest = rest[n:]
	}
	if a.out.buf != (buffer{}) {
		t.Errorf("seed %d: the buffer keeps %d bytes", seed, a.out.buf.n)
	}
	a.Close()
	b.Close()
}

// record makes n bytes, or a few more, from which unrecord knows where they begin and end: the length, then a count.
func record(n int) []byte {
	p := make([]byte, 3+n)
	p[0], p[1], p[2] = byte(n>>16), byte(n>>8), byte(n)
	for i := range n {
		p[3+i] = byte(n + i)
	}
	return p
}

// unrecord checks the record that p begins with, of which the end may be missing if it is the last.
func unrecord(p []byte) (n int, ok bool) {
	if len(p) < 3 {
		return len(p), true
	}
	n = int(p[0])<<16 | int(p[1])<<8 | int(p[2])
	body := p[3:min(len(p), 3+n)]
	for i, b := range body {
		if b != byte(n+i) {
			return 0, false
		}
	}
	return 3 + len(body), true
}
