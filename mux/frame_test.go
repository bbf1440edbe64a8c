package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What is encoded decodes to the same, also into dirty memory.
func TestHeaderRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		h := header{kind: kind(rnd.IntN(128)), flag: rnd.IntN(2) == 0, size: rnd.IntN(1 << 24), id: rnd.Uint64()}
		b := h.append([]byte{0xFF})
		if got := parseHeader(b[1:]); len(b) != 1+headerSize || got != h {
			t.Fatalf("got %+v, want %+v", got, h)
		}
		dirty := [headerSize]byte(bytes.Repeat([]byte{0xFF}, headerSize))
		if h.put(&dirty); !bytes.Equal(dirty[:], b[1:]) {
			t.Fatalf("%+v: got %x, want %x", h, dirty, b[1:])
		}
	}
}

// The bytes of the frames are those of docs/mux.md.
func TestEncoding(t *testing.T) {
	for _, x := range []struct {
		got  []byte
		want string
	}{
		{header{kind: kindHello, size: 48, id: protocolID}.append(nil), "\x01\x00\x00\x30virtmux\x01"},
		{appendPlain(nil, kindOpen, 5), "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05"},
		{header{kind: kindData, size: 0x012345, id: 1<<63 + 2}.append(nil), "\x03\x01\x23\x45\x80\x00\x00\x00\x00\x00\x00\x02"},
		{header{kind: kindData, flag: true, id: 7}.append(nil), "\x83\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"},
		{appendValue(nil, kindCredit, 3, 0x10000), "\x06\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x01\x00\x00"},
		{header{kind: kindClose, flag: true, size: 2, id: 6}.append(nil), "\x8c\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x06"},
	} {
		if string(x.got) != x.want {
			t.Errorf("got %x, want %x", x.got, x.want)
		}
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[kind]string{kindHello: "hello", kindData: "data", kindClose: "close", 0: "?", 127: "?"} {
		if got := k.String(); got != want {
			t.Errorf("%d: got %q, want %q", byte(k), got, want)
		}
	}
}

// FuzzHeader decodes headers: what decodes encodes to the same bytes, and what passes the check has a payload that is data, or
// fits into the reader's buffer.
func FuzzHeader(f *testing.F) {
	for k := range kind(20) {
		for _, h := range []header{{kind: k}, {kind: k, size: 8, id: 1}, {kind: k, flag: true, size: mostData, id: 1 << 63}} {
			f.Add(h.append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		h := parseHeader(b)
		if got := h.append(nil); !bytes.Equal(got, b[:headerSize]) {
			t.Errorf("%x is %+v, which is %x", b[:headerSize], h, got)
		}
		if h.size < 0 || h.size >= 1<<24 {
			t.Errorf("%x has a size of %d", b[:headerSize], h.size)
		}
		if err := h.check(); err == nil {
			if h.kind == kindData && h.size > mostData || h.kind != kindData && headerSize+h.size > readBuffer {
				t.Errorf("%+v passes", h)
			}
		}
	})
}
