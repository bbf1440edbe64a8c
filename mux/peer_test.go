package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// What follows is the protocol once more, by its description and not by the package's code.
const (
	hello = iota + 1
	open
	data
	reset
	stop
	credit
	limit
	streams
	ping
	pong
	goAway
	closing

	flag = 0x80

	version       = "virtmux\x01"
	helloCredit   = 1
	helloLimit    = 2
	helloStreams  = 3
	helloData     = 5
	maxFrame      = 128 << 10
	mostFrame     = 136 << 10 // that a session takes
	codeInternal  = 1
	codeFrame     = 2
	codeState     = 3
	codeCredit    = 4
	codeStreams   = 5
	codeFlood     = 6
	codeTimeout   = 7
	codeCarrier   = 8
	defaultWindow = 64 << 10
)

// A frame is what the test writes, and what it wants.
type frame struct {
	kind    byte // with the flag
	id      uint64
	payload string
}

func value(kind byte, id, v uint64) frame {
	return frame{kind, id, string(binary.BigEndian.AppendUint64(nil, v))}
}

func fData(id uint64, payload string) frame    { return frame{data, id, payload} }
func fLast(id uint64, payload string) frame    { return frame{data | flag, id, payload} }
func fFin(id uint64) frame                     { return frame{data | flag, id, ""} }
func fOpen(id uint64) frame                    { return frame{open, id, ""} }
func fReset(id, code uint64) frame             { return value(reset, id, code) }
func fStop(id, code uint64) frame              { return value(stop, id, code) }
func fCredit(id, total uint64) frame           { return value(credit, id, total) }
func fLimit(total uint64) frame                { return frame{limit, total, ""} }
func fStreams(total uint64) frame              { return frame{streams, total, ""} }
func fPing(id uint64) frame                    { return frame{ping, id, ""} }
func fPong(id uint64) frame                    { return frame{pong, id, ""} }
func fGoAway() frame                           { return frame{goAway, 0, ""} }
func fClose(code uint64, reason string) frame  { return frame{closing, code, reason} }
func fProtocol(code uint64, text string) frame { return frame{closing | flag, code, text} }
func fHello(settings ...uint64) frame {
	return frame{hello, binary.BigEndian.Uint64([]byte(version)), uint64s(settings)}
}

func uint64s(values []uint64) string {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return string(b)
}

// encode appends the frame as it is on the wire.
func (f frame) encode(b []byte) []byte {
	b = append(b, f.kind, byte(len(f.payload)>>16), byte(len(f.payload)>>8), byte(len(f.payload)))
	return append(binary.BigEndian.AppendUint64(b, f.id), f.payload...)
}

func encode(frames ...frame) (b []byte) {
	for _, f := range frames {
		b = f.encode(b)
	}
	return b
}

// readFrame reads a frame off the wire.
func readFrame(r io.Reader) (f frame, err error) {
	var h [12]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return f, err
	}
	payload := make([]byte, int(h[1])<<16|int(h[2])<<8|int(h[3]))
	if _, err := io.ReadFull(r, payload); err != nil {
		return f, fmt.Errorf("in the payload of %x: %w", h, err)
	}
	return frame{h[0], binary.BigEndian.Uint64(h[4:]), string(payload)}, nil
}

func (f frame) String() string {
	names := []string{"?", "hello", "open", "data", "reset", "stop", "credit", "limit", "streams", "ping", "pong", "goaway", "close"}
	var b strings.Builder
	if k := f.kind &^ flag; int(k) < len(names) {
		b.WriteString(names[k])
	} else {
		fmt.Fprint(&b, "kind", k)
	}
	if f.kind&flag != 0 {
		b.WriteString("!")
	}
	fmt.Fprint(&b, " ", f.id)
	switch n := len(f.payload); {
	case n == 0:
	case f.kind == reset || f.kind == stop || f.kind == credit:
		fmt.Fprint(&b, " ", binary.BigEndian.Uint64([]byte(f.payload)))
	case n > 100:
		fmt.Fprintf(&b, " %d bytes %.20q...", n, f.payload)
	default:
		fmt.Fprintf(&b, " %q", f.payload)
	}
	return b.String()
}

// A peer is the other end of a session: the test, which plays it frame by frame. All of it happens in a bubble of
// synctest, so that "nothing comes" is a fact.
type peer struct {
	*testing.T
	s      *mux.Session
	conn   *pipe.Conn // the peer's end of the carrier
	client bool       // the session is its client, the peer its server
	direct bool       // the session takes the carrier for one that it can write callers' buffers to
	ctx    context.Context
}

// A mode is a kind of session that scripts run on.
type mode struct{ client, direct bool }

func (m mode) String() string {
	role, writes := "server", "copying"
	if m.client {
		role = "client"
	}
	if m.direct {
		writes = "direct"
	}
	return role + " " + writes
}

var modes = []mode{{true, true}, {true, false}, {false, true}, {false, false}}

// carrierSize is how much a script's carrier holds in each direction.
const carrierSize = 1 << 20

// script runs a script against sessions of all kinds, each of which has greeted the peer and been greeted.
func script(t *testing.T, cfg *mux.Config, play func(t *testing.T, p *peer)) {
	t.Helper()
	bare(t, cfg, carrierSize, func(t *testing.T, p *peer) {
		p.greet(helloCredit, defaultWindow, helloLimit, 32<<20, helloStreams, 1024)
		play(t, p)
	})
}

// bare runs a script against sessions that were just made, over a carrier that holds some bytes.
func bare(t *testing.T, cfg *mux.Config, size int, play func(t *testing.T, p *peer)) {
	t.Helper()
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play(t, newPeer(t, m, cfg, size))
			})
		})
	}
}

// newPeer makes a session and its peer. Of both nothing may be left when the test ends.
func newPeer(t *testing.T, m mode, cfg *mux.Config, size int) *peer {
	t.Helper()
	a, b := pipe.New(size)
	begin := mux.Server
	if m.client {
		begin = mux.Client
	}
	s, err := begin(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if m.direct {
		mux.SetDirect(s)
	}
	t.Cleanup(func() {
		b.Close()
		s.Close()
		if err := s.Check(); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
	return &peer{T: t, s: s, conn: b, client: m.client, direct: m.direct, ctx: context.Background()}
}

// mine is the id of the n-th stream that the peer opens, from 1.
func (p *peer) mine(n int) uint64 {
	if p.client {
		return uint64(2 * n)
	}
	return uint64(2*n - 1)
}

// its is the id of the n-th stream that the session opens, from 1.
func (p *peer) its(n int) uint64 {
	if p.client {
		return uint64(2*n - 1)
	}
	return uint64(2 * n)
}

// greet exchanges hellos. The ping that follows the session's is not answered; so long as it isn't, the session
// doesn't measure the path, and windows stay as they are.
func (p *peer) greet(settings ...uint64) {
	p.Helper()
	p.wantHello()
	p.write(fHello(settings...))
	p.want(fPing(1))
	synctest.Wait()
}

func (p *peer) wantHello() frame {
	p.Helper()
	f := p.read()
	if f.kind != hello || f.id != fHello().id || len(f.payload)%16 != 0 {
		p.Fatalf("got %v, want hello", f)
	}
	return f
}

// write writes frames to the session, in one piece.
func (p *peer) write(frames ...frame) { p.Helper(); p.raw(encode(frames...)) }

func (p *peer) raw(b []byte) {
	p.Helper()
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(b); err != nil {
		p.Fatalf("write to the session: %v", err)
	}
}

// read returns the next frame of the session.
func (p *peer) read() frame {
	p.Helper()
	f, err := p.tryRead(time.Second)
	if err != nil {
		p.Fatalf("no frame: %v", err)
	}
	return f
}

// tryRead returns the next frame other than a ping, if one comes within d.
func (p *peer) tryRead(d time.Duration) (frame, error) {
	end := time.Now().Add(d)
	for {
		f, err := p.readUntil(end)
		if err != nil || f.kind != ping {
			return f, err
		}
	}
}

func (p *peer) readUntil(end time.Time) (frame, error) {
	p.conn.SetReadDeadline(end)
	return readFrame(p.conn)
}

// want wants these frames to be the next ones, but for pings that are none of them.
func (p *peer) want(frames ...frame) {
	p.Helper()
	for i, w := range frames {
		read := p.tryRead
		if w.kind == ping {
			read = func(d time.Duration) (frame, error) { return p.readUntil(time.Now().Add(d)) }
		}
		f, err := read(time.Second)
		if err != nil {
			p.Fatalf("frame %d: %v, want %v", i, err, w)
		}
		if f != w {
			p.Fatalf("frame %d: got %v, want %v", i, f, w)
		}
	}
}

// wantData wants bytes of a stream, in frames of any size, and returns how many frames there were.
func (p *peer) wantData(id uint64, payload string, fin bool) (frames int) {
	p.Helper()
	for n := 0; n < len(payload) || fin; {
		f := p.read()
		frames++
		if f.kind&^flag != data || f.id != id || !strings.HasPrefix(payload[n:], f.payload) {
			p.Fatalf("got %v, want the rest of %d bytes of stream %d from %d on", f, len(payload), id, n)
		}
		n += len(f.payload)
		if f.kind&flag != 0 {
			if !fin || n < len(payload) {
				p.Fatalf("got fin after %d of %d bytes", n, len(payload))
			}
			break
		}
	}
	return frames
}

// wantNothing wants the session to send nothing, now and in the next second.
func (p *peer) wantNothing() {
	p.Helper()
	if f, err := p.tryRead(time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.Fatalf("got %v, %v; want nothing", f, err)
	}
}

// wantEOF wants the session to close the carrier.
func (p *peer) wantEOF() {
	p.Helper()
	if f, err := p.tryRead(2 * time.Second); err != io.EOF {
		p.Fatalf("got %v, %v; want the end", f, err)
	}
}

// wantRefusal wants the session to end because of what the peer did: the peer is told, and so are the session's users.
func (p *peer) wantRefusal(code uint64, reason string) {
	p.Helper()
	for {
		f, err := p.tryRead(2 * time.Second)
		if err != nil {
			p.Fatalf("no close frame: %v (session: %v)", err, p.s.Err())
		}
		if f.kind&^flag != closing {
			continue
		}
		if f.kind&flag == 0 || f.id != code || !strings.Contains(f.payload, reason) {
			p.Fatalf("got %v, want %v", f, fProtocol(code, reason))
		}
		break
	}
	synctest.Wait()
	want := &mux.SessionError{Code: code, Protocol: true}
	if err := p.s.Err(); !errors.Is(err, want) || !strings.Contains(err.Error(), reason) {
		p.Fatalf("Err: got %v, want code %d and %q", err, code, reason)
	}
	p.wantEOF()
}

// wantAlive wants the session to answer, after which nothing else has come.
func (p *peer) wantAlive() {
	p.Helper()
	p.write(fPing(1<<63 + 12345))
	p.want(fPong(1<<63 + 12345))
	p.check()
}

// check checks the session's invariants.
func (p *peer) check() {
	p.Helper()
	synctest.Wait()
	if err := p.s.Check(); err != nil {
		p.Fatalf("invariants: %v", err)
	}
}

// open opens a stream on the session, and reads its frame.
func (p *peer) open(n int) *mux.Stream {
	p.Helper()
	st, err := p.s.Open(p.ctx)
	if err != nil {
		p.Fatal(err)
	}
	if st.ID() != p.its(n) {
		p.Fatalf("the stream's id is %d, want %d", st.ID(), p.its(n))
	}
	p.want(fOpen(st.ID()))
	return st
}

// accept opens a stream from the peer, with some frames behind the open, and accepts it.
func (p *peer) accept(n int, frames ...frame) *mux.Stream {
	p.Helper()
	p.write(append([]frame{fOpen(p.mine(n))}, frames...)...)
	c := begin(func() (*mux.Stream, error) { return p.s.Accept(p.ctx) })
	if !c.returned() {
		time.Sleep(5 * time.Millisecond) // Reads may have read the carrier, and have stopped
	}
	st, err := c.result(p)
	if err != nil {
		p.Fatal(err)
	}
	if st.ID() != p.mine(n) {
		p.Fatalf("the stream's id is %d, want %d", st.ID(), p.mine(n))
	}
	return st
}

// A call is a call that may block, on a goroutine of its own.
type call[V any] struct {
	done chan struct{}
	v    V
	err  error
}

func begin[V any](f func() (V, error)) *call[V] {
	c := &call[V]{done: make(chan struct{})}
	go func() {
		c.v, c.err = f()
		close(c.done)
	}()
	return c
}

// beginErr is begin for what returns an error only.
func beginErr(f func() error) *call[struct{}] {
	return begin(func() (struct{}, error) { return struct{}{}, f() })
}

// beginRead begins a Read of up to n bytes.
func beginRead(r io.Reader, n int) *call[string] {
	return begin(func() (string, error) {
		buf := make([]byte, n)
		n, err := r.Read(buf)
		return string(buf[:n]), err
	})
}

// beginWrite begins a Write.
func beginWrite(w io.Writer, s string) *call[int] {
	return begin(func() (int, error) { return w.Write([]byte(s)) })
}

// returned tells whether the call has returned. In a bubble only.
func (c *call[V]) returned() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// wantBlocked wants the call not to have returned.
func (c *call[V]) wantBlocked(t testing.TB) {
	t.Helper()
	if c.returned() {
		t.Fatalf("the call has returned %v, %v; want it to wait", c.v, c.err)
	}
}

// result is what the call has returned, by now.
func (c *call[V]) result(t testing.TB) (V, error) {
	t.Helper()
	if !c.returned() {
		t.Fatal("the call waits; want it to return")
	}
	return c.v, c.err
}

// wait waits for the call to return, outside of bubbles, and returns its error.
func (c *call[V]) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatal("the call does not return")
	}
	return c.err
}

// wantRunning wants the call not to have returned, outside of bubbles.
func (c *call[V]) wantRunning(t testing.TB) {
	t.Helper()
	select {
	case <-c.done:
		t.Errorf("the call has returned %v, %v; want it to go on", c.v, c.err)
	default:
	}
}

// want wants the call to have returned a value and no error.
func (c *call[V]) want(t testing.TB, v any) {
	t.Helper()
	got, err := c.result(t)
	if any(got) != v || err != nil {
		t.Fatalf("got %.100v, %v; want %.100v", got, err, v)
	}
}

// wantErr wants the call to have failed.
func (c *call[V]) wantErr(t testing.TB, op string, cause error) {
	t.Helper()
	_, err := c.result(t)
	wantErr(t, err, op, cause)
}

// wantErr wants an error of an operation with exactly this cause: for a *StreamError or *SessionError all fields count,
// but for a reason or a cause that is not given.
func wantErr(t testing.TB, err error, op string, cause error) {
	t.Helper()
	if problem := differs(err, op, cause); problem != "" {
		t.Fatal(problem)
	}
}

// differs tells how an error differs from what is wanted of it, "" if it doesn't.
func differs(err error, op string, cause error) string {
	if cause == nil || err == io.EOF || cause == io.EOF {
		if err != cause {
			return fmt.Sprintf("%s: got error %v, want %v", op, err, cause)
		}
		return ""
	}
	oe, ok := err.(*net.OpError)
	if !ok || oe.Op != op || oe.Net != "mux" || oe.Source == nil || oe.Addr == nil {
		return fmt.Sprintf("got error %#v (%v), want a *net.OpError of %s with cause %v", err, err, op, cause)
	}
	same := oe.Err == cause
	switch want := cause.(type) {
	case *mux.StreamError:
		got, ok := oe.Err.(*mux.StreamError)
		same = ok && *got == *want
	case *mux.SessionError:
		got, ok := oe.Err.(*mux.SessionError)
		same = ok && got.Code == want.Code && got.Remote == want.Remote && got.Protocol == want.Protocol &&
			(want.Reason == "" || got.Reason == want.Reason) && (want.Err == nil || errors.Is(got.Err, want.Err))
	}
	if !same {
		return fmt.Sprintf("%s: got error %#v (%v), want cause %#v", op, oe.Err, oe.Err, cause)
	}
	return ""
}

// patternPeriod is after how many bytes the pattern begins again: not a size that anything has.
const patternPeriod = 1_000_003

var patternBytes = sync.OnceValue(func() []byte {
	b := make([]byte, patternPeriod+4<<20)
	for i := range b {
		at := uint(i % patternPeriod)
		b[i] = byte(at ^ at>>8*7 ^ at>>16*13)
	}
	return b
})

// pattern is n bytes, 4 MiB at most, of which each tells its place, from an offset on. They must not be changed.
func pattern(offset, n int) []byte {
	offset %= patternPeriod
	return patternBytes()[offset : offset+n : offset+n]
}

func text(n int) string { return string(pattern(0, n)) }

// wantPattern reads n bytes, which must be those of the pattern from an offset on.
func wantPattern(t testing.TB, r io.Reader, offset, n int) {
	t.Helper()
	got := make([]byte, n)
	if k, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", k, n, err)
	}
	if !bytes.Equal(got, pattern(offset, n)) {
		t.Fatalf("%d bytes from %d on are not those that were written", n, offset)
	}
}
