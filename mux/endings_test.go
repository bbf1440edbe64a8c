package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// An operation is something that waits. Each has a stream, the first that the session opens.
type operation struct {
	name    string
	kind    string                        // what endings do to it
	modes   []mode                        // nil is all
	carrier int                           // how much the carrier holds
	limit   uint64                        // the session's, by hello
	prepare func(p *peer, st *mux.Stream) // makes the operation wait
	run     func(ctx context.Context, p *peer, st *mux.Stream) error
	check   func(p *peer) // when the operation waits
}

func ofWrite(size int) func(ctx context.Context, p *peer, st *mux.Stream) error {
	return func(_ context.Context, _ *peer, st *mux.Stream) error {
		_, err := st.Write(make([]byte, size))
		return err
	}
}

func runRead(_ context.Context, _ *peer, st *mux.Stream) error {
	_, err := st.Read(make([]byte, 10))
	return err
}

func runAccept(ctx context.Context, p *peer, _ *mux.Stream) error {
	_, err := p.s.Accept(ctx)
	return err
}

// pingPong exchanges so many requests and answers on a stream that the next Read reads the carrier itself.
func pingPong(p *peer, st *mux.Stream) {
	p.Helper()
	for range 40 {
		read := beginRead(st, 10)
		read.wantBlocked(p)
		beginWrite(st, "ping").want(p, 4)
		p.want(fData(st.ID(), "ping"))
		p.write(fData(st.ID(), "pong"))
		read.want(p, "pong")
	}
}

// other is another stream, which writes.
func other(p *peer, n int) {
	p.Helper()
	beginWrite(p.begin(), text(n)).wantBlocked(p)
}

const smallCarrier = 8 << 10

var operations = []operation{
	{name: "Read", kind: "read", run: runRead},
	{name: "Read behind another", kind: "read", run: runRead,
		prepare: func(p *peer, st *mux.Stream) { beginRead(st, 1).wantBlocked(p) }},
	{name: "Read that reads the carrier", kind: "read", run: runRead, prepare: pingPong,
		check: func(p *peer) {
			if !p.s.ReadLeads() {
				p.Fatal("the Read does not read the carrier")
			}
		}},
	{name: "Accept while a Read reads the carrier", kind: "accept", run: runAccept,
		prepare: func(p *peer, st *mux.Stream) {
			hog := p.open(2)
			pingPong(p, hog)
			beginRead(hog, 1).wantBlocked(p)
		}},
	{name: "WriteTo", kind: "read",
		run: func(_ context.Context, _ *peer, st *mux.Stream) error {
			n, err := st.WriteTo(io.Discard)
			if n != 0 {
				return fmt.Errorf("n is %d", n)
			}
			if err == nil { // it does not return io.EOF
				err = io.EOF
			}
			return err
		}},
	{name: "Write without credit", kind: "write", run: ofWrite(defaultWindow + 1)},
	{name: "Write behind another", kind: "write", run: ofWrite(1),
		prepare: func(p *peer, st *mux.Stream) { beginWrite(st, text(defaultWindow+1)).wantBlocked(p) }},
	{name: "Write without credit of the session", kind: "write", run: ofWrite(1), limit: 1 << 20,
		prepare: func(p *peer, st *mux.Stream) {
			hog := p.open(2)
			p.write(fCredit(hog.ID(), 2<<20))
			synctest.Wait()
			w := beginWrite(hog, text(1<<20))
			p.wantData(hog.ID(), text(1<<20), false)
			w.want(p, 1<<20)
		}},
	{name: "Write in the carrier", kind: "write", run: ofWrite(defaultWindow + 1), carrier: smallCarrier,
		modes: []mode{{true, true}, {false, true}}},
	{name: "large Write behind one in the carrier", kind: "write", run: ofWrite(defaultWindow + 1), carrier: smallCarrier,
		prepare: func(p *peer, st *mux.Stream) { other(p, defaultWindow+1) }},
	{name: "small Write behind much", kind: "write", run: ofWrite(1), carrier: smallCarrier,
		prepare: func(p *peer, st *mux.Stream) {
			other(p, defaultWindow+1)
			for range 5 { // fills the queue of small writes
				st := p.begin()
				begin(func() (int, error) {
					n := 0
					for {
						k, err := st.Write(make([]byte, 8<<10))
						if n += k; err != nil {
							return n, err
						}
					}
				}).wantBlocked(p)
			}
			if n := p.s.Queued(); n < 256<<10 {
				p.Fatalf("the queue has %d bytes only", n)
			}
		}},
	{name: "Write on loan to the carrier", kind: "write", run: ofWrite(defaultWindow + 1), carrier: smallCarrier,
		modes: []mode{{true, true}, {false, true}},
		prepare: func(p *peer, st *mux.Stream) {
			other(p, 30_000)
			go func() { // when the operation waits, the other's Write is let go
				time.Sleep(time.Nanosecond)
				for n := 0; n < 40_000; {
					k, err := p.conn.Read(make([]byte, 40_000-n))
					if n += k; err != nil {
						return
					}
				}
			}()
		}},
	{name: "ReadFrom", kind: "write",
		run: func(_ context.Context, _ *peer, st *mux.Stream) error {
			_, err := st.ReadFrom(endless{})
			return err
		}},
	{name: "Open", kind: "open",
		prepare: func(p *peer, st *mux.Stream) {
			for range 15 {
				if _, err := p.s.Open(p.ctx); err != nil {
					p.Fatal(err)
				}
			}
		},
		run: func(ctx context.Context, p *peer, _ *mux.Stream) error {
			_, err := p.s.Open(ctx)
			return err
		}},
	{name: "Accept", kind: "accept", run: runAccept},
	{name: "Ping", kind: "ping",
		run: func(ctx context.Context, p *peer, _ *mux.Stream) error {
			_, err := p.s.Ping(ctx)
			return err
		}},
	{name: "Shutdown", kind: "shutdown",
		run: func(ctx context.Context, p *peer, _ *mux.Stream) error { return p.s.Shutdown(ctx) }},
}

// endless is a source of bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// An ending is what can happen to an operation.
type ending struct {
	name string
	do   func(w *waiting)
	// The cause of the error that the operation then fails with, by the kind of operation. If there is none, it goes
	// on waiting.
	causes map[string]error
	none   []string // kinds of operations that return without an error
}

// waiting is what an ending works on.
type waiting struct {
	*peer
	st     *mux.Stream
	ctx    context.Context
	cancel func()
}

// every is the same cause for all kinds of operations but some.
func every(cause error, but ...string) map[string]error {
	m := make(map[string]error)
	for _, kind := range []string{"read", "write", "open", "accept", "ping", "shutdown"} {
		if !slices.Contains(but, kind) {
			m[kind] = cause
		}
	}
	return m
}

const soon = 5 * time.Second

var endings = []ending{
	{"Close", func(w *waiting) { w.st.Close() }, map[string]error{"read": net.ErrClosed, "write": net.ErrClosed}, nil},
	{"Reset", func(w *waiting) { w.st.Reset(7) }, map[string]error{"read": net.ErrClosed, "write": &mux.StreamError{Code: 7}}, nil},
	{"CloseRead", func(w *waiting) { w.st.CloseRead() }, map[string]error{"read": net.ErrClosed}, nil},
	{"CloseWrite", func(w *waiting) { w.st.CloseWrite() }, map[string]error{"write": net.ErrClosed}, nil},
	{"deadline", func(w *waiting) { w.st.SetDeadline(time.Now().Add(soon)); time.Sleep(soon) },
		map[string]error{"read": os.ErrDeadlineExceeded, "write": os.ErrDeadlineExceeded}, nil},
	{"deadline in the past", func(w *waiting) { w.st.SetDeadline(time.Unix(1, 0)) },
		map[string]error{"read": os.ErrDeadlineExceeded, "write": os.ErrDeadlineExceeded}, nil},
	{"deadline that is moved", func(w *waiting) {
		w.st.SetDeadline(time.Now().Add(soon / 2))
		w.st.SetDeadline(time.Time{})
		w.st.SetDeadline(time.Now().Add(time.Hour))
		w.st.SetDeadline(time.Now().Add(soon))
		time.Sleep(soon)
	}, map[string]error{"read": os.ErrDeadlineExceeded, "write": os.ErrDeadlineExceeded}, nil},
	{"deadline that is taken away", func(w *waiting) {
		w.st.SetDeadline(time.Now().Add(soon / 2))
		w.st.SetDeadline(time.Time{})
		time.Sleep(soon)
	}, nil, nil},
	{"read deadline", func(w *waiting) { w.st.SetReadDeadline(time.Now().Add(soon)); time.Sleep(soon) },
		map[string]error{"read": os.ErrDeadlineExceeded}, nil},
	{"write deadline", func(w *waiting) { w.st.SetWriteDeadline(time.Now().Add(soon)); time.Sleep(soon) },
		map[string]error{"write": os.ErrDeadlineExceeded}, nil},
	{"context", func(w *waiting) { w.cancel() }, every(context.Canceled, "read", "write"), nil},
	{"fin", func(w *waiting) { w.write(fFin(w.st.ID())) }, map[string]error{"read": io.EOF}, nil},
	{"reset", func(w *waiting) { w.write(fReset(w.st.ID(), 7)) },
		map[string]error{"read": &mux.StreamError{Code: 7, Remote: true}}, nil},
	{"stop", func(w *waiting) { w.write(fStop(w.st.ID(), 8)) },
		map[string]error{"write": &mux.StreamError{Code: 8, Remote: true, Stop: true}}, nil},
	{"goaway", func(w *waiting) { w.write(fGoAway()) }, map[string]error{"open": mux.ErrGoAway}, nil},
	{"Shutdown", func(w *waiting) { beginErr(func() error { return w.s.Shutdown(context.Background()) }).wantBlocked(w) },
		map[string]error{"open": mux.ErrGoAway}, nil},
	{"close", func(w *waiting) { w.write(fClose(9, "bye")) },
		every(&mux.SessionError{Code: 9, Reason: "bye", Remote: true}), nil},
	{"protocol close", func(w *waiting) { w.write(fProtocol(codeFlood, "bye")) },
		every(&mux.SessionError{Code: codeFlood, Reason: "bye", Remote: true, Protocol: true}), nil},
	{"CloseWithError", func(w *waiting) { beginErr(func() error { return w.s.CloseWithError(9, "bye") }) },
		every(&mux.SessionError{Code: 9, Reason: "bye"}, "shutdown"), []string{"shutdown"}},
	{"end of the carrier", func(w *waiting) { w.conn.CloseWrite() },
		every(&mux.SessionError{Code: codeCarrier, Protocol: true, Err: io.ErrUnexpectedEOF}), nil},
	{"failure of the carrier", func(w *waiting) { w.conn.Reset() },
		every(&mux.SessionError{Code: codeCarrier, Protocol: true, Err: syscall.ECONNRESET}), nil},
	{"nonsense", func(w *waiting) { w.raw([]byte("this is no frame")) },
		every(&mux.SessionError{Code: codeFrame, Protocol: true}), nil},
	{"silence", func(w *waiting) { time.Sleep(time.Minute) },
		every(&mux.SessionError{Code: codeTimeout, Protocol: true, Err: mux.ErrTimeout}), nil},
}

// TestEndings is the matrix: everything that waits, and everything that can end it, before it begins and while it waits.
func TestEndings(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			for _, end := range endings {
				t.Run(end.name, func(t *testing.T) {
					for _, m := range modes {
						if op.modes != nil && !slices.Contains(op.modes, m) {
							continue
						}
						t.Run(m.String(), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) { testEnding(t, m, op, end) })
						})
						if t.Failed() {
							break
						}
					}
				})
			}
		})
	}
}

func testEnding(t *testing.T, m mode, op operation, end ending) {
	size, limit := carrierSize, uint64(32<<20)
	if op.carrier > 0 {
		size = op.carrier
	}
	if op.limit > 0 {
		limit = op.limit
	}
	p := newPeer(t, m, nil, size)
	p.greet(helloCredit, defaultWindow, helloLimit, limit, helloStreams, 16)
	st := p.open(1)
	if op.prepare != nil {
		op.prepare(p, st)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	w := &waiting{p, st, ctx, cancel}
	c := beginErr(func() error { return op.run(ctx, p, st) })
	c.wantBlocked(t)
	time.Sleep(time.Microsecond)
	c.wantBlocked(t)
	p.check()
	if op.check != nil {
		op.check(p)
	}

	end.do(w)
	synctest.Wait()
	cause, ends := end.causes[op.kind]
	if slices.Contains(end.none, op.kind) {
		cause, ends = nil, true
		time.Sleep(2 * time.Second) // it closes the session, and the peer doesn't
	}
	if !ends {
		c.wantBlocked(t)
		p.check()
		return
	}
	c.wantErr(t, op.kind, cause)
	c = beginErr(func() error { return op.run(ctx, p, st) })
	c.wantErr(t, op.kind, cause) // later calls fail alike, and at once
	p.check()
	p.wantWhole(end)
}

// wantWhole wants what the session has sent to be whole frames, in an order that the protocol allows, to the last.
func (p *peer) wantWhole(end ending) {
	p.Helper()
	ended := make(map[uint64]bool)
	var last frame
	for {
		f, err := p.tryRead(time.Second)
		if err != nil {
			if err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) && end.causes["ping"] == nil {
				p.Errorf("behind %v: %v", last, err)
			}
			break
		}
		switch last = f; f.kind {
		case data, data | flag, reset:
			if ended[f.id] {
				p.Errorf("%v behind the end of the stream", f)
			}
			ended[f.id] = f.kind != data
		}
	}
	if want := fClose(9, "bye"); end.name == "CloseWithError" && last != want {
		p.Errorf("the last frame is %v, want %v", last, want)
	}
}
