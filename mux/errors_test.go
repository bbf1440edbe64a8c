package mux_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/virtnet/virtnet/mux"
)

// standard are the errors of the standard library that ours are compared to.
var standard = []struct {
	name string
	err  error
}{
	{"closed", net.ErrClosed},
	{"reset", syscall.ECONNRESET},
	{"pipe", syscall.EPIPE},
	{"deadline", os.ErrDeadlineExceeded},
	{"eof", io.ErrUnexpectedEOF},
	{"timeout", mux.ErrTimeout},
	{"goaway", mux.ErrGoAway},
}

// TestErrorsIs is what errors.Is says of every kind of error, and their texts.
func TestErrorsIs(t *testing.T) {
	for _, x := range []struct {
		err     error
		is      []string
		timeout bool
		text    string
	}{
		{&mux.StreamError{Code: 3}, []string{"closed"}, false, "stream is reset (code 3)"},
		{&mux.StreamError{Code: 3, Remote: true}, []string{"reset"}, false, "stream is reset by the other end (code 3)"},
		{&mux.StreamError{Code: 3, Remote: true, Stop: true}, []string{"reset", "pipe"}, false,
			"stream is not read any more by the other end (code 3)"},
		{&mux.SessionError{}, []string{"closed"}, false, "session was closed"},
		{&mux.SessionError{Code: 1, Reason: "why"}, []string{"closed"}, false, "session was closed: why (code 1)"},
		{&mux.SessionError{Remote: true, Reason: "why"}, []string{"closed", "reset"}, false,
			"session was closed by the other end: why"},
		{&mux.SessionError{Code: codeTimeout, Protocol: true, Err: mux.ErrTimeout, Reason: "the other end is silent"},
			[]string{"closed", "deadline", "timeout"}, true, "session was closed: the other end is silent (code 7)"},
		{&mux.SessionError{Code: codeCarrier, Protocol: true, Err: io.ErrUnexpectedEOF, Reason: "read: unexpected EOF"},
			[]string{"closed", "eof"}, false, "session was closed: read: unexpected EOF (code 8)"},
		{&mux.SessionError{Code: codeCarrier, Protocol: true, Err: &net.OpError{Err: os.NewSyscallError("read", syscall.ECONNRESET)}},
			[]string{"closed", "reset"}, false, "session was closed (code 8)"},
		{mux.ErrGoAway, []string{"closed", "goaway"}, false, "the session takes no more streams"},
		{mux.ErrTimeout, []string{"deadline", "timeout"}, false, "the other end is silent"},
	} {
		if got := x.err.Error(); got != x.text {
			t.Errorf("got %q, want %q", got, x.text)
		}
		wrapped := &net.OpError{Op: "read", Net: "mux", Err: x.err}
		for _, std := range standard {
			want := false
			for _, name := range x.is {
				want = want || name == std.name
			}
			if got := errors.Is(wrapped, std.err); got != want {
				t.Errorf("%#v: is %q: got %v, want %v", x.err, std.name, got, want)
			}
		}
		if got := wrapped.Timeout(); got != x.timeout {
			t.Errorf("%#v: Timeout: got %v, want %v", x.err, got, x.timeout)
		}
	}
}

// Errors of the package are equal if they say the same.
func TestErrorsEqual(t *testing.T) {
	for _, x := range []struct {
		a, b error
		want bool
	}{
		{&mux.StreamError{Code: 1, Remote: true}, &mux.StreamError{Code: 1, Remote: true}, true},
		{&mux.StreamError{Code: 1, Remote: true}, &mux.StreamError{Code: 2, Remote: true}, false},
		{&mux.StreamError{Code: 1, Remote: true}, &mux.StreamError{Code: 1}, false},
		{&mux.StreamError{Code: 1, Remote: true}, &mux.StreamError{Code: 1, Remote: true, Stop: true}, false},
		{&mux.SessionError{Code: 1, Reason: "x"}, &mux.SessionError{Code: 1, Reason: "y"}, true},
		{&mux.SessionError{Code: 1}, &mux.SessionError{Code: 2}, false},
		{&mux.SessionError{Code: 1}, &mux.SessionError{Code: 1, Remote: true}, false},
		{&mux.SessionError{Code: 1}, &mux.SessionError{Code: 1, Protocol: true}, false},
		{&mux.SessionError{Code: 1}, &mux.StreamError{Code: 1}, false},
		{&mux.StreamError{Code: 1}, &mux.SessionError{Code: 1}, false},
	} {
		if got := errors.Is(x.a, x.b); got != x.want {
			t.Errorf("%#v is %#v: got %v, want %v", x.a, x.b, got, x.want)
		}
	}
}

// TestBothEnds is what each end gets when one of them ends a stream or the session, on every carrier, while both ends read
// and write as fast as they can.
func TestBothEnds(t *testing.T) {
	type errs struct{ read, write error }
	same := func(err error) errs { return errs{err, err} }
	for _, x := range []struct {
		name        string
		do          func(s *mux.Session, st *mux.Stream) error
		here, there errs // nil is blocked
	}{
		{"Reset", func(_ *mux.Session, st *mux.Stream) error { return st.Reset(77) },
			errs{net.ErrClosed, &mux.StreamError{Code: 77}},
			errs{&mux.StreamError{Code: 77, Remote: true}, &mux.StreamError{Code: 77, Remote: true, Stop: true}}},
		{"Close", func(_ *mux.Session, st *mux.Stream) error { return st.Close() },
			same(net.ErrClosed),
			errs{io.EOF, &mux.StreamError{Remote: true, Stop: true}}},
		{"CloseRead", func(_ *mux.Session, st *mux.Stream) error { return st.CloseRead() },
			errs{net.ErrClosed, nil},
			errs{nil, &mux.StreamError{Remote: true, Stop: true}}},
		{"CloseWrite", func(_ *mux.Session, st *mux.Stream) error { return st.CloseWrite() },
			errs{nil, net.ErrClosed},
			errs{io.EOF, nil}},
		{"CloseWithError", func(s *mux.Session, _ *mux.Stream) error { return s.CloseWithError(5, "five") },
			same(&mux.SessionError{Code: 5, Reason: "five"}),
			same(&mux.SessionError{Code: 5, Reason: "five", Remote: true})},
	} {
		for _, carrier := range carriers {
			t.Run(x.name+"/"+carrier.name, func(t *testing.T) {
				client, server := sessions(t, carrier.pair)
				a, b := streamPair(t, client, server)
				reads, writes := busy(a, b)
				if err := x.do(server, b); err != nil {
					t.Fatal(err)
				}
				for i, want := range []errs{x.there, x.here} {
					if want.read != nil {
						wantErr(t, reads[i].wait(t), "read", want.read)
					}
					if want.write != nil {
						wantErr(t, writes[i].wait(t), "write", want.write)
					}
				}
				for i, want := range []errs{x.there, x.here} { // nothing else has happened meanwhile
					if want.read == nil {
						reads[i].wantRunning(t)
					}
					if want.write == nil {
						writes[i].wantRunning(t)
					}
				}
				for _, s := range []*mux.Session{client, server} {
					if err := s.Check(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// busy begins Reads and Writes on both ends that go on until they fail.
func busy(a, b *mux.Stream) (reads, writes [2]*call[int]) {
	for i, st := range []*mux.Stream{a, b} {
		writes[i] = begin(func() (int, error) { return writeOn(st) })
		reads[i] = begin(func() (int, error) { return readOn(st) })
	}
	return reads, writes
}

// writeOn writes until that fails.
func writeOn(w io.Writer) (n int, err error) {
	buf := make([]byte, 10_000)
	for err == nil {
		var k int
		k, err = w.Write(buf)
		n += k
	}
	return n, err
}

// readOn reads until that fails.
func readOn(r io.Reader) (n int, err error) {
	buf := make([]byte, 10_000)
	for err == nil {
		var k int
		k, err = r.Read(buf)
		n += k
	}
	return n, err
}
