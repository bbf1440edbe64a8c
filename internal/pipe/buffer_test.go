package pipe

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestBuffer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b buffer
	var want []byte
	next := byte(0)
	for range 2000 {
		if rnd.IntN(2) == 0 {
			p := make([]byte, rnd.IntN(3*chunkSize))
			for i := range p {
				p[i] = next
				next++
			}
			b.write(p)
			want = append(want, p...)
		} else {
			p := make([]byte, rnd.IntN(4*chunkSize))
			n := b.read(p)
			if n != min(len(p), len(want)) || !bytes.Equal(p[:n], want[:n]) {
				t.Fatalf("read of %d: got %d, want the next of %d bytes", len(p), n, len(want))
			}
			want = want[n:]
		}
		if b.n != len(want) {
			t.Fatalf("got %d bytes, want %d", b.n, len(want))
		}
		if (b.head == nil) != (b.n == 0) || (b.tail == nil) != (b.n == 0) {
			t.Fatalf("with %d bytes: head %p, tail %p", b.n, b.head, b.tail)
		}
	}
	b.discard()
	if b != (buffer{}) {
		t.Errorf("after discard: got %+v", b)
	}
}
