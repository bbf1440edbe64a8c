package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A backlog gives back what it was given, in order, however it is cut.
func TestBacklog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var b backlog
		var want []byte
		next := byte(0)
		fill := func(p []byte) []byte {
			for i := range p {
				p[i] = next
				next++
			}
			want = append(want, p...)
			return p
		}
		for range 2000 {
			size := 1 + rnd.IntN(1<<(1+rnd.IntN(18)))
			switch rnd.IntN(5) {
			case 0:
				b.write(fill(make([]byte, size)))
			case 1:
				c := newChunk(size)
				if c.r != 0 || c.w != 0 || len(c.room()) != len(c.buf) || len(c.buf) < min(size, chunkSizes[len(chunkSizes)-1]) {
					t.Fatalf("a new chunk for %d bytes has %d, [%d:%d]", size, len(c.buf), c.r, c.w)
				}
				c.w = 1 + rnd.IntN(len(c.buf))
				fill(c.buf[:c.w])
				b.add(c)
			case 2, 3:
				p := make([]byte, size)
				n := b.read(p)
				if n != min(size, len(want)) || !bytes.Equal(p[:n], want[:n]) {
					t.Fatalf("seed %d: read of %d: got %d bytes, want the next of %d", seed, size, n, len(want))
				}
				want = want[n:]
			case 4:
				if rnd.IntN(20) == 0 {
					if n := b.discard(); n != len(want) {
						t.Fatalf("seed %d: discarded %d bytes of %d", seed, n, len(want))
					}
					want = nil
				}
			}
			if n, err := b.check(); err != nil || n != len(want) || b.empty() != (n == 0) {
				t.Fatalf("seed %d: %d bytes, %v; want %d", seed, n, err, len(want))
			}
		}
		b.discard()
	}
}

// What holds a few bytes is not large.
func TestChunkClasses(t *testing.T) {
	for _, x := range []struct{ size, want int }{
		{1, 64}, {64, 64}, {65, 256}, {256, 256}, {257, 1 << 10}, {4 << 10, 4 << 10}, {4<<10 + 1, 16 << 10},
		{16<<10 + 1, 64 << 10}, {64 << 10, 64 << 10}, {1 << 20, 64 << 10},
	} {
		c := newChunk(x.size)
		if len(c.buf) != x.want {
			t.Errorf("for %d bytes: got %d, want %d", x.size, len(c.buf), x.want)
		}
		c.free()
	}
}

// However little a reader leaves of a chunk, and whatever comes behind that, its memory goes down with it.
func TestLittleLeft(t *testing.T) {
	for _, behind := range []int{0, 1, 100, 70_000} {
		for left := 1; left < 64<<10; left = 3*left + 1 {
			var b backlog
			all := make([]byte, 64<<10+behind)
			for i := range all {
				all[i] = byte(i % 251)
			}
			b.write(all[:64<<10])
			b.write(all[64<<10:])
			got := make([]byte, 64<<10-left)
			b.read(got)
			if has, most := len(b.last.next.buf), max(4*left, 64); has > most {
				t.Errorf("%d bytes are left in a chunk of %d, want at most %d", left, has, most)
			}
			rest := make([]byte, left+behind+1)
			n := b.read(rest)
			if !bytes.Equal(append(got, rest[:n]...), all) || !b.empty() {
				t.Errorf("with %d bytes left and %d behind them, what is read is not what was written", left, behind)
			}
		}
	}
}
