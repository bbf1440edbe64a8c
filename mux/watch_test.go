package mux_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
)

// A watch reads along what the ends of a session write, and tells what the protocol does not allow. End 0 is the client.
type watch struct {
	mu      sync.Mutex
	strict  [2]bool // whose mistakes count
	errs    []string
	ends    [2]watchedEnd
	streams map[uint64]*watchedStream
}

// watchedEnd is what one end has written.
type watchedEnd struct {
	buf            []byte // less than a frame
	greeted, ended bool
	away           bool
	opened         uint64
	sent           uint64         // bytes of streams
	credit         uint64         // what the other may send on a new stream, by this end's word
	limit          uint64         // and on all together
	streams        uint64         // and how many it may open
	pings          map[uint64]int // not answered yet
}

// watchedStream is what the ends have written about a stream, each of them at its index.
type watchedStream struct {
	sent    [2]uint64
	ended   [2]bool
	stopped [2]bool
	credit  [2]uint64 // what the other may send
}

func newWatch(strictClient, strictServer bool) *watch {
	w := &watch{strict: [2]bool{strictClient, strictServer}, streams: make(map[uint64]*watchedStream)}
	for i := range w.ends {
		w.ends[i] = watchedEnd{credit: 64 << 10, limit: 1 << 20, streams: 16, pings: make(map[uint64]int)}
	}
	return w
}

// wrote takes bytes that an end has written.
func (w *watch) wrote(end int, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &w.ends[end]
	e.buf = append(e.buf, p...)
	for len(e.buf) >= 12 {
		size := int(e.buf[1])<<16 | int(e.buf[2])<<8 | int(e.buf[3])
		if len(e.buf) < 12+size {
			return
		}
		w.frame(end, frame{e.buf[0], binary.BigEndian.Uint64(e.buf[4:]), string(e.buf[12 : 12+size])})
		e.buf = e.buf[12+size:]
	}
}

// problems are the mistakes so far.
func (w *watch) problems() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs
}

func (w *watch) frame(end int, f frame) {
	e, o := &w.ends[end], &w.ends[1-end]
	must := func(ok bool, format string, args ...any) bool {
		if !ok && w.strict[end] && len(w.errs) < 10 {
			w.errs = append(w.errs, fmt.Sprintf("end %d writes %v: %s", end, f, fmt.Sprintf(format, args...)))
		}
		return ok
	}
	must(!e.ended, "after its last frame")
	must(e.greeted == (f.kind != hello), "greeted: %v", e.greeted)
	var v uint64
	switch f.kind {
	case reset, stop, credit:
		if !must(len(f.payload) == 8, "its payload is not a number") {
			return
		}
		v = binary.BigEndian.Uint64([]byte(f.payload))
	}
	switch f.kind {
	case hello:
		e.greeted = true
		w.hello(end, f.payload)
	case open:
		next := 2*e.opened + uint64(1+end)
		must(f.id == next, "the next is %d", next)
		must(e.opened < o.streams, "of %d allowed", o.streams)
		must(!e.away && !o.away || o.away, "after goaway")
		e.opened++
		w.streams[f.id] = &watchedStream{credit: [2]uint64{w.ends[0].credit, w.ends[1].credit}}
	case data, data | flag, reset, stop, credit:
		if st := w.streams[f.id]; must(st != nil, "there is no such stream") {
			w.streamFrame(end, f, st, v, must)
		}
	case limit:
		must(f.id > e.limit, "it was %d", e.limit)
		e.limit = max(e.limit, f.id)
	case streams:
		must(f.id > e.streams, "it was %d", e.streams)
		e.streams = max(e.streams, f.id)
	case ping:
		e.pings[f.id]++
	case pong:
		must(o.pings[f.id] > 0, "there was no such ping")
		o.pings[f.id]--
	case goAway:
		must(!e.away, "again")
		e.away = true
	case closing, closing | flag:
		e.ended = true
	default:
		must(false, "unknown")
	}
}

func (w *watch) hello(end int, settings string) {
	e := &w.ends[end]
	for i := 0; i+16 <= len(settings); i += 16 {
		v := binary.BigEndian.Uint64([]byte(settings[i+8:]))
		switch binary.BigEndian.Uint64([]byte(settings[i:])) {
		case helloCredit:
			e.credit = max(e.credit, v)
		case helloLimit:
			e.limit = max(e.limit, v)
		case helloStreams:
			e.streams = max(e.streams, v)
		}
	}
	for _, st := range w.streams {
		st.credit[end] = max(st.credit[end], e.credit)
	}
}

func (w *watch) streamFrame(end int, f frame, st *watchedStream, v uint64, must func(bool, string, ...any) bool) {
	e, o := &w.ends[end], &w.ends[1-end]
	switch f.kind {
	case data, data | flag:
		n := uint64(len(f.payload))
		must(!st.ended[end], "behind the end")
		must(n > 0 || f.kind&flag != 0, "empty")
		must(n <= maxFrame, "too long")
		st.sent[end] += n
		e.sent += n
		must(st.sent[end] <= st.credit[1-end], "%d bytes of %d allowed", st.sent[end], st.credit[1-end])
		must(e.sent <= o.limit, "%d bytes in all, of %d allowed", e.sent, o.limit)
		st.ended[end] = f.kind&flag != 0
	case reset:
		must(!st.ended[end], "behind the end")
		st.ended[end] = true
	case stop:
		must(!st.stopped[end], "again")
		st.stopped[end] = true
	case credit:
		must(v > st.credit[end], "it was %d", st.credit[end])
		must(!st.stopped[end], "after stop")
		st.credit[end] = max(st.credit[end], v)
	}
}

// watched is a carrier that a watch reads along. It looks at what is read, not at what is written, since a Write may be
// interrupted; what allows an end to write something has been read before.
type watched struct {
	net.Conn
	w   *watch
	end int
}

func (c watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.wrote(1-c.end, p[:n])
	return n, err
}

// watchPair watches both ends of a connection, the first of which is the client's. The test fails if they make mistakes.
func watchPair(t testing.TB, a, b net.Conn) (net.Conn, net.Conn) {
	w := newWatch(true, true)
	t.Cleanup(func() {
		for _, err := range w.problems() {
			t.Error(err)
		}
	})
	return watched{a, w, 0}, watched{b, w, 1}
}
