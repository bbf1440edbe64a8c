package virtnettest

import (
	"bytes"
	"errors"
	"hash/crc64"
	"io"
	"net"

	"github.com/virtnet/virtnet"
)

var copyClauses = []clause{{
	name: "TransferBothWays",
	why:  "much data in both directions at once arrives as it was sent",
	run:  testTransfer,
}, {
	name: "TransferCopy",
	why:  "io.Copy from and to a connection, and between two, copies everything, by whichever of ReadFrom and WriteTo it uses",
	run:  testCopy,
}, {
	name: "TransferCopyEnds",
	why:  "io.Copy between two connections ends as a Read and a Write would: nil at the source's EOF, and the cause when one end goes down",
	run:  testCopyEnds,
}}

// payload returns n bytes that are not the same everywhere.
func payload(n int) []byte {
	p := make([]byte, n)
	x := uint32(n)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

func wantBytes(w *world, got, want []byte) {
	w.Helper()
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		w.Errorf("got %d bytes, want %d; the first that differs is %d", len(got), len(want), i)
	}
}

// readAll checks what comes before EOF.
func readAll(w *world, c net.Conn, want []byte) {
	w.Helper()
	got := start("reading everything on "+c.LocalAddr().String(), func() ([]byte, error) { return io.ReadAll(c) }).succeeds(w)
	wantBytes(w, got, want)
}

func testTransfer(w *world) {
	a, b := w.pair()
	c, d := w.connect(a, w.listen(b, ":1"))
	const size = 4 << 20
	table := crc64.MakeTable(crc64.ECMA)
	var writes []*call[int]
	var sums []*call[uint64]
	for _, x := range []net.Conn{c, d} {
		writes = append(writes, start("writing", func() (int, error) {
			total := 0
			for data, step := payload(size), 1; len(data) > 0; step = step*3%65521 + 1 { // blocks of all sizes
				n, err := x.Write(data[:min(step, len(data))])
				total += n
				if err != nil {
					return total, err
				}
				data = data[n:]
			}
			return total, nil
		}))
		sums = append(sums, start("reading", func() (uint64, error) {
			sum := crc64.New(table)
			_, err := io.CopyN(sum, struct{ io.Reader }{x}, size)
			return sum.Sum64(), err
		}))
	}
	want := crc64.Checksum(payload(size), table)
	for i := range writes {
		if n := writes[i].succeeds(w); n != size {
			w.Errorf("wrote %d bytes, want %d", n, size)
		}
		if got := sums[i].succeeds(w); got != want {
			w.Errorf("direction %d: checksum %x, want %x", i, got, want)
		}
	}
}

func testCopy(w *world) {
	a, b := w.pair()
	g := w.host(0, "γ")
	const size = 1 << 20
	data := payload(size)
	// α -> β, β copies to γ, γ reads.
	c1, d1 := w.connect(a, w.listen(b, ":1"))
	c2, d2 := w.connect(b, w.listen(g, ":1"))
	for _, x := range []struct{ in, from, to, out net.Conn }{{c1, d1, c2, d2}, {d2, c2, d1, c1}} {
		src := start("copying into "+x.in.LocalAddr().String(), func() (int64, error) { return io.Copy(x.in, bytes.NewReader(data)) })
		relay := start("copying between connections", func() (int64, error) { return io.Copy(x.to, io.LimitReader(x.from, size)) })
		var got bytes.Buffer
		dst := start("copying out of "+x.out.LocalAddr().String(), func() (int64, error) { return io.Copy(&got, io.LimitReader(x.out, size)) })
		for _, c := range []*call[int64]{src, relay, dst} {
			if n := c.succeeds(w); n != size {
				w.Errorf("%s: %d bytes, want %d", c.what, n, size)
			}
		}
		wantBytes(w, got.Bytes(), data)
	}
}

func testCopyEnds(w *world) {
	a, b := w.pair()
	g := w.host(0, "γ")
	lb, lg := w.listen(b, ":1"), w.listen(g, ":1")
	relay := func() (in, out net.Conn, copied *call[int64]) {
		in, from := w.connect(a, lb)
		to, out := w.connect(b, lg)
		return in, out, start("io.Copy", func() (int64, error) { return io.Copy(to, from) })
	}

	in, out, copied := relay()
	sent := start("Write", func() (int, error) { return in.Write([]byte("last words")) })
	got := make([]byte, 10)
	start("Read", func() (int, error) { return io.ReadFull(out, got) }).succeeds(w)
	sent.succeeds(w)
	must(w, in.Close())
	if n := copied.succeeds(w); n != 10 || string(got) != "last words" {
		w.Errorf("copied %d bytes until EOF, %q, want 10, %q", n, got, "last words")
	}

	_, _, copied = relay()
	w.settle()
	must(w, b.Close())
	n, err := copied.wait(w)
	if n != 0 || !errors.Is(err, virtnet.ErrHostDown) {
		w.Errorf("io.Copy on a host that is closed: %d, %q, want ErrHostDown", n, errText(err))
	}
}
