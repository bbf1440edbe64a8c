package mux_test

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A boundary is where a carrier can be cut that knows of frames.
type boundary int

const (
	behindHeader  boundary = iota // and before the payload
	behindFrame                   // and before the next header
	boundaryKinds                 // how many there are
)

// A series is what a session sends in one direction, over all its carriers: where the boundaries in it are.
type series struct {
	mu     sync.Mutex
	at     [boundaryKinds][]uint64 // offsets, sorted
	end    uint64                  // of what was seen
	header [12]byte
	got    int // of the header
	left   int // of the payload
}

// add sees bytes from an offset on, which may have been seen in part.
func (s *series) add(offset uint64, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset+uint64(len(p)) <= s.end {
		return
	}
	for p = p[s.end-offset:]; len(p) > 0; {
		n := 0
		if s.left > 0 {
			n = min(s.left, len(p))
			s.left -= n
		} else {
			n = copy(s.header[s.got:], p)
			s.got += n
		}
		p, s.end = p[n:], s.end+uint64(n)
		if s.got == len(s.header) {
			s.got, s.left = 0, int(binary.BigEndian.Uint32(s.header[:])&(1<<24-1))
			if s.left > 0 {
				s.at[behindHeader] = append(s.at[behindHeader], s.end)
			}
		}
		if s.got == 0 && s.left == 0 {
			s.at[behindFrame] = append(s.at[behindFrame], s.end)
		}
	}
}

// find returns the first boundary of a kind from an offset on.
func (s *series) find(b boundary, from uint64) (at uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearch(s.at[b], from)
	if i == len(s.at[b]) {
		return 0, false
	}
	return s.at[b][i], true
}

// What a client sends in a handshake, and a server: docs/mux.md, 7.6.
const (
	resumeBytes, proofBytes, challengeBytes = 12 + 56, 12 + 48, 12 + 72

	kindResume    = 15
	kindChallenge = 16
)

// A passage is one direction of a carrier: a handshake, unless it is the session's first carrier, and a part of a series.
type passage struct {
	series *series

	mu    sync.Mutex
	head  []byte   // what was written first
	wrote int64    // how much was written
	shake int64    // how much of it is the handshake's; never while that is not known
	base  uint64   // offset in the series behind that
	back  *passage // a client's: the server's
}

// write sees what is about to be written.
func (w *passage) write(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := resumeBytes + proofBytes - len(w.head); n > 0 {
		w.head = append(w.head, p[:min(n, len(p))]...)
	}
	switch h := w.head; {
	case len(h) == 0:
	case h[0] == kindResume && len(h) == resumeBytes+proofBytes:
		numbers := h[resumeBytes+12:]
		w.shake, w.base = int64(len(h)), binary.BigEndian.Uint64(numbers[8:])
		w.back.begin(challengeBytes, binary.BigEndian.Uint64(numbers))
	case h[0] == hello:
		w.shake = 0
	}
	if skip := max(w.shake-w.wrote, 0); skip < int64(len(p)) {
		w.series.add(w.base+uint64(w.wrote+skip-w.shake), p[skip:])
	}
	w.wrote += int64(len(p))
}

// begin says where the series goes on.
func (w *passage) begin(shake int64, base uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shake, w.base = shake, base
}

// find returns the first boundary behind so many bytes of the carrier.
func (w *passage) find(b boundary, from int64) (at int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.head) == 0 {
		return 0, false
	}
	ends := [boundaryKinds][]int64{}
	switch w.head[0] {
	case kindResume:
		ends = [boundaryKinds][]int64{{12, resumeBytes + 12}, {resumeBytes, resumeBytes + proofBytes}}
	case kindChallenge:
		ends = [boundaryKinds][]int64{{12}, {challengeBytes}}
	}
	for _, end := range ends[b] {
		if end >= from {
			return end, true
		}
	}
	if w.shake == never {
		return 0, false
	}
	offset, ok := w.series.find(b, w.base+uint64(max(from-w.shake, 0)))
	return int64(offset-w.base) + w.shake, ok
}

// A frameConn is an end of a carrier that can be cut at a boundary. It is cut at the first that comes behind so many bytes.
type frameConn struct {
	net.Conn
	in, out       *passage
	at            boundary
	reads, writes int64 // the bytes; set before use
	readAt        int64 // Read's
	wroteAt       int64 // Write's
	isCut         atomic.Bool
}

func (c *frameConn) cut() error {
	c.isCut.Store(true)
	(&cutConn{Conn: c.Conn}).cut()
	return errCut
}

func (c *frameConn) Read(p []byte) (n int, err error) {
	if c.isCut.Load() {
		return 0, c.cut()
	}
	n, err = c.Conn.Read(p)
	if at, ok := c.in.find(c.at, c.reads); ok && at <= c.readAt+int64(n) && at >= c.readAt {
		n, err = int(at-c.readAt), c.cut()
	}
	c.readAt += int64(n)
	return n, err
}

func (c *frameConn) Write(p []byte) (n int, err error) {
	c.out.write(p)
	at, ok := c.out.find(c.at, c.writes)
	if ok = ok && at <= c.wroteAt+int64(len(p)); ok {
		p = p[:max(at-c.wroteAt, 0)]
	}
	if n, err = c.Conn.Write(p); err == nil && ok {
		err = c.cut()
	}
	c.wroteAt += int64(n)
	return n, err
}

// framePairs returns what makes carriers of a session that know of frames.
func framePairs(pair func() (a, b net.Conn)) func() (a, b net.Conn) {
	var there, back series
	return func() (a, b net.Conn) {
		a, b = pair()
		in := &passage{series: &back, shake: never}
		out := &passage{series: &there, shake: never, back: in}
		return &frameConn{Conn: a, in: in, out: out, reads: never, writes: never},
			&frameConn{Conn: b, in: out, out: in, reads: never, writes: never}
	}
}

// TestFrameConn tries what the tests of cuts rely on.
func TestFrameConn(t *testing.T) {
	first := encode(fHello(), fOpen(1), fData(1, "abcdef"), fFin(1)) // boundaries at 12, 24, 36 and 42, 54
	rest := encode(fData(3, "xyz"))
	for _, x := range []struct {
		name string
		kind boundary
		from int64
		want int
	}{
		{"the first frame", behindFrame, 0, 12},
		{"the second frame", behindFrame, 13, 24},
		{"a header", behindHeader, 0, 36},
		{"right there", behindHeader, 36, 36},
		{"a payload", behindFrame, 25, 42},
		{"the last frame", behindFrame, 43, 54},
		{"a header of a later write", behindHeader, 37, 66},
	} {
		t.Run(x.name, func(t *testing.T) {
			pairs := framePairs(bufferedPipe)
			a, b := pairs()
			c := a.(*frameConn)
			c.at, c.writes = x.kind, x.from
			total := 0
			for _, p := range [][]byte{first[:5], first[5:30], first[30:], rest} {
				n, err := c.Write(p)
				if total += n; err != nil {
					break
				}
			}
			if total != x.want {
				t.Errorf("it was cut behind %d bytes, want %d", total, x.want)
			}
			a.Close()
			b.Close()
			// Another carrier goes on in the middle of a frame.
			a, b = pairs()
			defer a.Close()
			defer b.Close()
			resume := frame{kindResume, 0, string(make([]byte, 56))}
			proof := frame{17, 0, uint64s([]uint64{0, 14}) + string(make([]byte, 32))}
			d := b.(*frameConn)
			d.at, d.reads = behindFrame, resumeBytes+proofBytes+3
			a.Write(encode(resume, proof))
			a.Write(append(first[14:], rest...))
			buf := make([]byte, 1000)
			n, err := 0, error(nil)
			for err == nil {
				var k int
				k, err = d.Read(buf)
				n += k
			}
			if want := resumeBytes + proofBytes + 24 - 14; n != want || err != errCut {
				t.Errorf("the second was cut behind %d bytes, %v, want %d", n, err, want)
			}
		})
	}
}
