package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// closer is an output that notes whether it is closed.
type closer struct {
	bytes.Buffer
	closed bool
	err    error // of Close
}

func (c *closer) Close() error {
	c.closed = true
	return c.err
}

func TestStdioRead(t *testing.T) {
	text := strings.Repeat("0123456789", 30000)
	boom := errors.New("boom")
	for _, test := range []struct {
		name string
		in   io.Reader
		want string
		err  error
	}{
		{"text", strings.NewReader(text), text, nil},
		{"a byte at a time", iotest.OneByteReader(strings.NewReader(text[:100])), text[:100], nil},
		{"an end with the last bytes", iotest.DataErrReader(strings.NewReader(text)), text, nil},
		{"nothing", strings.NewReader(""), "", nil},
		{"none", nil, "", nil},
		{"an error", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom)), "abc", boom},
	} {
		s := newStdio(test.in, io.Discard)
		got, err := io.ReadAll(s)
		if string(got) != test.want || err != test.err {
			t.Errorf("%s: %d bytes, %v; want %d, %v", test.name, len(got), err, len(test.want), test.err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: after the end: %d, %v", test.name, n, err)
		}
		s.Close()
	}
}

func TestStdioWrite(t *testing.T) {
	for _, err := range []error{nil, errors.New("disk full")} {
		out := &closer{err: err}
		s := newStdio(nil, out)
		for _, text := range []string{"hello, ", "world"} {
			if n, err := io.WriteString(s, text); n != len(text) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		}
		if got := s.CloseWrite(); got != err || !out.closed || out.String() != "hello, world" {
			t.Errorf("CloseWrite: %v, want %v; closed %v with %q", got, err, out.closed, out)
		}
		s.Close()
	}
	s := newStdio(nil, iotest.TruncateWriter(io.Discard, 0))
	if err := s.CloseWrite(); err != nil {
		t.Errorf("an output that cannot be closed: %v", err)
	}
	boom := errors.New("boom")
	s = newStdio(nil, errWriter{boom})
	if n, err := io.WriteString(s, "x"); n != 0 || err != boom {
		t.Errorf("Write: %d, %v", n, err)
	}
	s.Close()
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

// Whatever files do, Close ends what waits for them, and so do the ends of the other side and of the time.
func TestStdioBlocked(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal bool
		end      func(*stdio)
		read     error // how Read ends; nil if it goes on
		write    error // how Write ends; nil if it goes on
	}{
		{"Close", false, func(s *stdio) { s.Close() }, net.ErrClosed, net.ErrClosed},
		{"Close twice", false, func(s *stdio) { s.Close(); s.Close() }, net.ErrClosed, net.ErrClosed},
		{"CloseWrite", false, func(s *stdio) { s.CloseWrite() }, nil, nil},
		{"CloseWrite at a terminal", true, func(s *stdio) { s.CloseWrite() }, io.EOF, nil},
		{"deadline", false, func(s *stdio) { s.SetDeadline(time.Now().Add(time.Second)); time.Sleep(time.Second) }, io.EOF, nil},
		{"write deadline", false, func(s *stdio) { s.SetWriteDeadline(time.Now()) }, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, typed := io.Pipe()
				shown, out := io.Pipe()
				s := newStdio(in, struct{ io.Writer }{out})
				s.terminal = test.terminal
				var read, wrote error
				go func() { _, read = s.Read(make([]byte, 1)) }()
				go func() { _, wrote = io.WriteString(s, "x") }()
				synctest.Wait()
				test.end(s)
				synctest.Wait()
				if read != test.read || wrote != test.write {
					t.Errorf("Read ended with %v, want %v; Write with %v, want %v", read, test.read, wrote, test.write)
				}
				s.Close()
				typed.Close()
				shown.Close()
			})
		})
	}
	s := newStdio(strings.NewReader("x"), io.Discard)
	s.Close()
	if _, err := s.Write([]byte("x")); err != net.ErrClosed {
		t.Errorf("Write when it is closed: %v", err)
	}
}
