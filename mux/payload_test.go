package mux

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"
)

// TestSource has slices of random lengths taken in random pieces, as frames of either size: what comes out is what went in.
func TestSource(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := make([]byte, 600<<10)
	for i := range all {
		all[i] = byte(rnd.Uint32())
	}
	for range 300 {
		var vec net.Buffers
		var frames [][]byte
		left := all[:rnd.IntN(len(all))]
		size := len(left)
		for len(left) > 0 {
			n := min(len(left), rnd.IntN(1<<rnd.IntN(19)))
			vec = append(vec, left[:n])
			left = left[n:]
		}
		src := source{vec: vec, frames: &frames, left: size}
		most := []int{maxData, mostData}[rnd.IntN(2)]
		var got []byte
		for src.left > 0 {
			p := src.next(7, uint64(1+rnd.IntN(300<<10)))
			if p.size == 0 || p.size > mostData {
				t.Fatalf("a payload has %d bytes", p.size)
			}
			if rnd.IntN(2) == 0 {
				p.cut(1 + rnd.IntN(p.size))
			}
			before := len(got)
			switch rnd.IntN(3) {
			case 0:
				got = p.append(got)
			case 1:
				for _, b := range p.appendVec(nil) {
					got = append(got, b...)
				}
			default:
				got = appendData(t, got, p, most)
			}
			if n := len(got) - before; n != p.size {
				t.Fatalf("a payload of %d bytes has %d", p.size, n)
			}
			src.took(p.size)
		}
		if !bytes.Equal(got, all[:size]) {
			t.Fatalf("%d bytes do not come out as they went in", size)
		}
		rest := 0
		for _, b := range src.vec {
			rest += len(b)
		}
		if rest > 0 {
			t.Fatalf("%d bytes are left", rest)
		}
	}
}

// appendData adds to b what the frames of a payload carry.
func appendData(t *testing.T, b []byte, p payload, most int) []byte {
	t.Helper()
	var headers [mostFrames][headerSize]byte
	var wire []byte
	for _, s := range p.appendFrames(nil, &headers, most) {
		wire = append(wire, s...)
	}
	for frames := 0; len(wire) > 0; frames++ {
		h := parseHeader(wire)
		if h.kind != kindData || h.flag || h.id != 7 || h.size == 0 || h.size > most || h.check() != nil {
			t.Fatalf("frame %d is %+v", frames, h)
		}
		b = append(b, wire[headerSize:headerSize+h.size]...)
		wire = wire[headerSize+h.size:]
	}
	return b
}
