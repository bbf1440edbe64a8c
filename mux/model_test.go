package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// A model is what two sessions should do, much simpler than they are: everything has arrived after each step. End 0 is the client.
type model struct {
	testing.TB
	rnd      *rand.Rand
	sessions [2]*mux.Session
	streams  []*modelStream
	waiting  [2][]*modelStream // for Accept, by that end
	log      []string
}

const (
	modelStreams = 16       // as many as each end may open
	modelWindow  = 64 << 10 // of a stream
	modelTotal   = 1 << 20  // of a session
)

// modelStream is a stream. What is about an end is at that end's index.
type modelStream struct {
	opener int
	st     [2]*mux.Stream // nil before Accept
	closed [2]bool        // Close was called
	dirs   [2]*direction  // by who writes
}

// direction is one direction of a stream.
type direction struct {
	written int   // bytes, by what Write has returned
	read    int   // bytes, by what Read has
	end     error // what Write returns, nil while it works
	fin     bool  // it was ended by fin
	readEnd error // what Read returns instead of bytes, by the reader's doing or the writer's reset

	write         *call[int]
	writing       int // bytes of it
	reads         *call[string]
	expired, late bool // the deadlines of Write and Read are in the past
}

func (m *model) fatalf(format string, args ...any) {
	m.Helper()
	m.Fatalf("%s\nsteps:\n%s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-40):], "\n"))
}

func (m *model) logf(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

// over tells whether a direction has ended.
func (d *direction) over() bool { return d.fin || d.end != nil }

// settle waits until everything has arrived.
func settle() {
	synctest.Wait()
	time.Sleep(5 * time.Millisecond) // opens wait for data, and a Read that has left the carrier for another one
	synctest.Wait()
}

func (m *model) step() {
	end := m.rnd.IntN(2)
	switch k := m.rnd.IntN(100); {
	case k < 6:
		m.open(end)
	case k < 14:
		m.accept(end)
	default:
		s := m.pick(end)
		if s == nil {
			return
		}
		switch {
		case k < 50:
			m.write(s, end)
		case k < 86:
			m.read(s, end)
		case k < 88:
			m.closeWrite(s, end)
		case k < 89:
			m.closeRead(s, end)
		case k < 92:
			m.close(s, end)
		case k < 93:
			m.reset(s, end)
		default:
			m.deadline(s, end)
		}
	}
	settle()
	m.check()
}

// pick returns a stream that an end has, seldom one that has ended.
func (m *model) pick(end int) *modelStream {
	var s *modelStream
	for range 30 {
		if len(m.streams) == 0 {
			return nil
		}
		if s = m.streams[m.rnd.IntN(len(m.streams))]; s.st[end] == nil {
			s = nil
			continue
		}
		if !s.dirs[0].over() || !s.dirs[1].over() {
			break
		}
	}
	return s
}

// open opens a stream, if that is possible at once.
func (m *model) open(end int) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	open := 0 // for the other end
	for _, s := range m.streams {
		if s.opener == end && !(s.closed[1-end] && s.dirs[0].over() && s.dirs[1].over()) {
			open++
		}
	}
	st, err := m.sessions[end].Open(ctx)
	m.logf("end %d: Open, with %d: %v", end, open, err)
	switch {
	case err == nil && open >= modelStreams:
		m.fatalf("a stream was opened beyond the limit")
	case err != nil && open < modelStreams*3/4:
		m.fatalf("Open with %d streams: %v", open, err)
	case err != nil:
		wantErr(m, err, "open", context.Canceled)
		return
	}
	s := &modelStream{opener: end, dirs: [2]*direction{{}, {}}}
	s.st[end] = st
	m.streams = append(m.streams, s)
	m.waiting[1-end] = append(m.waiting[1-end], s)
}

func (m *model) accept(end int) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	st, err := m.sessions[end].Accept(ctx)
	m.logf("end %d: Accept: %v", end, err)
	for len(m.waiting[end]) > 0 {
		s := m.waiting[end][0]
		m.waiting[end] = m.waiting[end][1:]
		if s.dead(end) {
			s.closed[end] = true // left out
			continue
		}
		if err != nil || st.ID() != s.st[1-end].ID() {
			m.fatalf("Accept: got %v, %v; want stream %d", st, err, s.st[1-end].ID())
		}
		s.st[end] = st
		return
	}
	if err == nil {
		m.fatalf("Accept: got stream %d, want none", st.ID())
	}
}

// dead tells whether the opener has reset both directions.
func (s *modelStream) dead(end int) bool {
	_, stopped := s.dirs[end].end.(*mux.StreamError)
	_, reset := s.dirs[1-end].readEnd.(*mux.StreamError)
	return stopped && reset
}

func (m *model) write(s *modelStream, end int) {
	d := s.dirs[end]
	if d.write != nil {
		return
	}
	n := 1 + m.rnd.IntN(1<<(1+m.rnd.IntN(18)))
	m.logf("end %d: stream %d: Write %d at %d", end, s.st[end].ID(), n, d.written)
	d.writing = n
	p, st := pattern(d.written, n), s.st[end]
	d.write = begin(func() (int, error) { return st.Write(p) })
}

func (m *model) read(s *modelStream, end int) {
	d := s.dirs[1-end]
	if d.reads != nil {
		return
	}
	n := 1 + m.rnd.IntN(1<<(1+m.rnd.IntN(18)))
	m.logf("end %d: stream %d: Read %d at %d", end, s.st[end].ID(), n, d.read)
	d.reads = beginRead(s.st[end], n)
}

// endWrite ends what an end writes with fin.
func (d *direction) endWrite() {
	if !d.over() {
		d.fin = true
		d.end = net.ErrClosed
	}
}

// endRead ends what an end reads, whatever comes: the other end's Writes fail.
func (d *direction) endRead(code uint64) {
	if !d.over() {
		d.end = &mux.StreamError{Code: code, Remote: true, Stop: true}
	}
	d.readEnd = net.ErrClosed
}

func (m *model) closeWrite(s *modelStream, end int) {
	err := s.st[end].CloseWrite()
	m.logf("end %d: stream %d: CloseWrite: %v", end, s.st[end].ID(), err)
	d := s.dirs[end]
	if _, ok := d.end.(*mux.StreamError); ok && !s.closed[end] {
		wantErr(m, err, "close", d.end)
	} else if err != nil && !s.closed[end] {
		m.fatalf("CloseWrite: %v", err)
	}
	d.endWrite()
}

func (m *model) closeRead(s *modelStream, end int) {
	err := s.st[end].CloseRead()
	m.logf("end %d: stream %d: CloseRead: %v", end, s.st[end].ID(), err)
	if err != nil {
		m.fatalf("CloseRead: %v", err)
	}
	s.dirs[1-end].endRead(0)
}

func (m *model) close(s *modelStream, end int) {
	err := s.st[end].Close()
	m.logf("end %d: stream %d: Close: %v", end, s.st[end].ID(), err)
	if err != nil {
		m.fatalf("Close: %v", err)
	}
	s.closed[end] = true
	s.dirs[end].endWrite()
	s.dirs[1-end].endRead(0)
}

func (m *model) reset(s *modelStream, end int) {
	code := m.rnd.Uint64()
	err := s.st[end].Reset(code)
	m.logf("end %d: stream %d: Reset: %v", end, s.st[end].ID(), err)
	if err != nil {
		m.fatalf("Reset: %v", err)
	}
	if d := s.dirs[end]; !d.over() {
		d.end = &mux.StreamError{Code: code}
		if d.readEnd == nil {
			d.readEnd = &mux.StreamError{Code: code, Remote: true}
		}
	}
	s.dirs[1-end].endRead(code)
}

// deadline sets a deadline that has passed, or takes one away.
func (m *model) deadline(s *modelStream, end int) {
	past, of := m.rnd.IntN(2) == 0, []string{"read", "write"}[m.rnd.IntN(2)]
	t := time.Time{}
	if past {
		t = time.Now().Add(-time.Second)
	}
	m.logf("end %d: stream %d: %s deadline, past %v", end, s.st[end].ID(), of, past)
	if of == "read" {
		s.st[end].SetReadDeadline(t)
		s.dirs[1-end].late = past
	} else {
		s.st[end].SetWriteDeadline(t)
		s.dirs[end].expired = past
	}
}

// check compares the sessions with the model.
func (m *model) check() {
	for _, s := range m.streams {
		for end := range 2 {
			if s.st[end] != nil {
				m.checkWrite(s, end)
			}
		}
		for end := range 2 { // what a Write has written is known by now
			if s.st[end] != nil {
				m.checkRead(s, end)
			}
		}
	}
	settle() // Reads have made room for Writes
	for _, s := range m.streams {
		for end := range 2 {
			if s.st[end] != nil {
				m.checkWrite(s, end)
			}
		}
	}
	if err := mux.CheckPair(m.sessions[0], m.sessions[1]); err != nil {
		m.fatalf("%v", err)
	}
	open := 0
	for _, s := range m.streams {
		if !s.dirs[0].over() || !s.dirs[1].over() {
			open++
		}
	}
	for end, s := range m.sessions {
		if n := s.NumStreams(); n != open {
			m.fatalf("end %d has %d streams, want %d", end, n, open)
		}
		if err := s.Err(); err != nil {
			m.fatalf("end %d: %v", end, err)
		}
	}
}

// checkWrite looks at a Write in progress.
func (m *model) checkWrite(s *modelStream, end int) {
	d := s.dirs[end]
	if d.write == nil {
		return
	}
	if !d.write.returned() {
		room := s.st[1-end] == nil || s.st[1-end].Unread() <= modelWindow/2
		if s.st[1-end] == nil && d.writing > modelWindow {
			room = false // nobody reads yet
		}
		switch {
		case d.end != nil || d.expired || s.closed[end]:
			m.fatalf("end %d: stream %d: Write waits after the end", end, s.st[end].ID())
		case room && s.st[1-end] != nil && m.sessions[1-end].Stats().Unread <= modelTotal/2:
			m.fatalf("end %d: stream %d: Write waits with room for it", end, s.st[end].ID())
		}
		return
	}
	n, err := d.write.v, d.write.err
	d.write = nil
	d.written += n
	m.logf("    end %d: stream %d: Write has returned %d, %v", end, s.st[end].ID(), n, err)
	want := d.end
	if s.closed[end] {
		want = net.ErrClosed
	}
	switch {
	case err == nil && n != d.writing:
		m.fatalf("%d of %d bytes without error", n, d.writing)
	case want != nil && err != nil:
		wantErr(m, err, "write", want)
	case err != nil && (!d.expired || !errors.Is(err, os.ErrDeadlineExceeded)):
		m.fatalf("end %d: stream %d: Write: %v", end, s.st[end].ID(), err)
	}
}

// checkRead looks at a Read in progress, by end, of what the other has written.
func (m *model) checkRead(s *modelStream, end int) {
	d := s.dirs[1-end]
	if d.reads == nil {
		return
	}
	if !d.reads.returned() {
		switch {
		case d.readEnd != nil, d.late, d.over() && d.read == d.written, d.read < d.written:
			m.fatalf("end %d: stream %d: Read waits at %d of %d: end %v, late %v, over %v", end, s.st[end].ID(), d.read, d.written,
				d.readEnd, d.late, d.over())
		}
		return
	}
	got, err := d.reads.v, d.reads.err
	d.reads = nil
	m.logf("    end %d: stream %d: Read has returned %d, %v", end, s.st[end].ID(), len(got), err)
	if got != string(pattern(d.read, len(got))) {
		m.fatalf("end %d: stream %d: %d bytes from %d on are not what was written", end, s.st[end].ID(), len(got), d.read)
	}
	d.read += len(got)
	switch {
	case d.write == nil && d.read > d.written:
		m.fatalf("%d bytes were read of %d", d.read, d.written)
	case err == nil:
		if len(got) == 0 {
			m.fatalf("nothing was read")
		}
	case len(got) > 0:
		m.fatalf("got bytes and %v", err)
	case d.readEnd != nil:
		wantErr(m, err, "read", d.readEnd)
	case d.late && errors.Is(err, os.ErrDeadlineExceeded):
	case err == io.EOF && d.fin && d.read == d.written:
	default:
		m.fatalf("end %d: stream %d: Read at %d of %d: %v", end, s.st[end].ID(), d.read, d.written, err)
	}
}

// TestModel does thousands of random things to the two ends of a session, one at a time, and compares what they do with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds, stepsMost := 40, 400
	if os.Getenv("VIRTNET_TEST_LONG") == "1" {
		seeds = 2000
	}
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		name := fmt.Sprintf("seed %d", seed)
		if !t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testModel(t, seed, stepsMost) })
		}) {
			return
		}
	}
}

func testModel(t *testing.T, seed uint64, stepsMost int) {
	cfg := &mux.Config{KeepAlive: -1, Limits: mux.Limits{
		MaxStreams: modelStreams, SessionWindow: modelTotal, StreamWindow: modelWindow, MaxStreamWindow: modelWindow}}
	c, d := pipe.New([]int{0, 1000, pipe.DefaultSize}[seed%3])
	a, b := watchPair(t, c, d)
	client, server := sessionsOn(t, a, b, cfg, cfg)
	if seed%2 == 0 {
		mux.SetDirect(client)
		mux.SetDirect(server)
	}
	m := &model{TB: t, rnd: rand.New(rand.NewPCG(seed, 99)), sessions: [2]*mux.Session{client, server}}
	settle()
	for range stepsMost {
		m.step()
	}
	m.finish()
	total := 0
	for _, s := range m.streams {
		total += s.dirs[0].read + s.dirs[1].read
	}
	t.Logf("%d streams, %d bytes read", len(m.streams), total)
}

// finish ends the session in one of its ways, in which everything that waits comes to an end.
func (m *model) finish() {
	if m.rnd.IntN(2) == 0 {
		// Everything is closed, and then nothing may be left.
		for end := range 2 {
			for len(m.waiting[end]) > 0 {
				m.accept(end)
			}
			for _, s := range m.streams {
				if s.st[end] != nil {
					m.close(s, end)
				}
			}
			settle()
			m.check()
		}
		if err := m.sessions[0].Shutdown(context.Background()); err != nil {
			m.fatalf("Shutdown: %v", err)
		}
		return
	}
	end := m.rnd.IntN(2)
	m.sessions[end].CloseWithError(7, "finished")
	settle()
	for i, s := range m.sessions {
		want := &mux.SessionError{Code: 7, Reason: "finished", Remote: i != end}
		if err := s.Err(); !errors.Is(err, want) {
			m.fatalf("end %d: got %v, want %v", i, err, want)
		}
	}
	for _, s := range m.streams {
		for _, d := range s.dirs {
			if d.write != nil && !d.write.returned() || d.reads != nil && !d.reads.returned() {
				m.fatalf("a call waits after the end of the session")
			}
		}
	}
}
