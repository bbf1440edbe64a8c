package lonet_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

// These tests play the dialler, byte by byte, against a sub-network.

// answers reads what is answered on c until its end.
func answers(t testing.TB, c net.Conn) string {
	t.Helper()
	got, err := io.ReadAll(c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Errorf("the connection is left hanging, after %q", got)
	}
	return string(got)
}

// Each bad request gets its answer, and then the connection ends.
func TestAnswers(t *testing.T) {
	p := newPlace(t)
	α := p.host("α")
	p.listen(α, ":7")
	osladdr := p.osladdr("α")
	const (
		invalid  = `protocol error: invalid dial request`
		mismatch = `protocol error: network mismatch`
		badSrc   = `protocol error: src address invalid`
		badDst   = `protocol error: dst address invalid`
		refused  = `connection refused`
	)
	for _, test := range []struct{ send, want string }{
		{`> lonet "lonett" connect "β:1" "α:7"` + "\n", invalid},
		{`lonet "lonett" dial "β:1" "α:7"` + "\n", invalid},
		{`> lonet "lonett" dial "β:1" "α:7" "γ:1"` + "\n", invalid},
		{`> lonet "lonett" dial "β:1" "α:7"` + "\r\n", invalid},
		{"> lonet `lonett` dial `β:1` `α:7`\n", invalid},
		{"\n", invalid},
		{"\x00\x00\x00\n", invalid},
		{"\x16\x03\x01\x02\n\xff\xfe", invalid},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", invalid},
		{`> lonet "lonett" dial "β:1" "α` + "\x00" + `:7"` + "\x00\n", invalid},

		{`> lonet "lonetx" dial "β:1" "α:7"` + "\n", mismatch},
		{`> lonet "t" dial "β:1" "α:7"` + "\n", mismatch},
		{`> lonet "lonetx" dial "" ""` + "\n", mismatch},

		{`> lonet "lonett" dial "β" "α:7"` + "\n", badSrc},
		{`> lonet "lonett" dial "β:-1" "α:7"` + "\n", badSrc},
		{`> lonet "lonett" dial ":1" "α:7"` + "\n", badSrc},
		{`> lonet "lonett" dial "β:1" "α"` + "\n", badDst},
		{`> lonet "lonett" dial "β:1" "α:-1"` + "\n", badDst},
		{`> lonet "lonett" dial "β:1" "α:+7"` + "\n", badDst},
		{`> lonet "lonett" dial "β:1" "α:99999999999999999999"` + "\n", badDst},
		{`> lonet "lonett" dial "β:1" ":7"` + "\n", badDst},

		{`> lonet "lonett" dial "β:1" "nohost:1"` + "\n", `address nohost:1: no such host`},
		{`> lonet "lonett" dial "β:1" "we\"ird:1"` + "\n", `address we\"ird:1: no such host`},
		{`> lonet "lonett" dial "β:1" "α:1"` + "\n", refused},
		{`> lonet "lonett" dial "β:1" "α:0"` + "\n", refused},
		{`> lonet "lonett" dial "β:1" "α:2147483647"` + "\n", refused},

		{strings.Repeat("x", 1024), invalid},
		{strings.Repeat("x", 1023) + "\n", invalid},
		{strings.Repeat("\x00", 1024), invalid},
	} {
		c := p.raw(osladdr)
		if _, err := io.WriteString(c, test.send); err != nil {
			t.Fatal(err)
		}
		want := `< lonet "lonett" E "` + test.want + `"` + "\n"
		if got := answers(t, c); got != want {
			t.Errorf("%.60q\n got %q\nwant %q", test.send, got, want)
		}
		c.Close()
	}
}

// A megabyte without a newline ends the connection. The reply may be lost, since not all was read.
func TestEndlessLine(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	c := p.raw(p.osladdr("α"))
	_, err := c.Write(make([]byte, 1<<20))
	for i := 0; err == nil && i < 100; i++ {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if ne, ok := err.(net.Error); err == nil || ok && ne.Timeout() {
		t.Errorf("it reads on: %v", err)
	}
	answers(t, c)
}

// Who ends before the line does gets no answer.
func TestHalfLine(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	for _, half := range []string{"", ">", `> lonet "lonett" dial "β:1" "α:7"`, strings.Repeat("x", 1023)} {
		c := p.raw(p.osladdr("α"))
		io.WriteString(c, half)
		c.CloseWrite()
		if got := answers(t, c); got != "" {
			t.Errorf("%.60q: got %q, want nothing", half, got)
		}
	}
}

// A request may come in pieces, and its answer is exact.
func TestRequestInPieces(t *testing.T) {
	p := newPlace(t)
	l := p.listen(p.host("α"), ":7")
	c := p.raw(p.osladdr("α"))
	for _, b := range []byte(`> lonet "lonett" dial "β:5" "α:7"` + "\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Microsecond) // so that it is read byte by byte: not awaited, only likely
	}
	a := p.accept(l)
	if a.RemoteAddr().String() != "β:5" || a.LocalAddr().String() != "α:1" {
		t.Errorf("accepted %s from %s", a.LocalAddr(), a.RemoteAddr())
	}
	a.Close()
	if got, want := answers(t, c), `< lonet "lonett" connected "α:1"`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What comes right behind the request is payload, and so is the end of it.
func TestPayloadBehindRequest(t *testing.T) {
	p := newPlace(t)
	l := p.listen(p.host("α"), ":7")
	request := `> lonet "lonett" dial "β:5" "α:7"` + "\n"
	for _, payload := range []string{"x", "hello\n\n", strings.Repeat("payload", 100), strings.Repeat("payload", 10000)} {
		for _, wait := range []bool{false, true} {
			c := p.raw(p.osladdr("α"))
			if _, err := io.WriteString(c, request+payload); err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			if wait { // the dial waits for its Accept, longer than it takes to be watched
				<-time.After(20 * time.Millisecond)
			}
			a := p.accept(l)
			read := io.ReadAll
			if wait {
				read = func(r io.Reader) ([]byte, error) {
					var b bytes.Buffer
					_, err := io.Copy(&b, r)
					return b.Bytes(), err
				}
			}
			if got, err := read(a); string(got) != payload || err != nil {
				t.Errorf("got %.60q (%d bytes, %v), want %.60q", got, len(got), err, payload)
			}
			fmt.Fprint(a, "bye")
			a.Close()
			if got, want := answers(t, c), `< lonet "lonett" connected "α:1"`+"\nbye"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

// The answer is one line of at most 1024 bytes, whatever was asked.
func TestAnswerFits(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	c := p.raw(p.osladdr("α"))
	fmt.Fprintf(c, "> lonet \"lonett\" dial \"β:1\" \"%s:1\"\n", strings.Repeat("\x01", 900))
	got := answers(t, c)
	if len(got) > 1024 || !strings.HasPrefix(got, `< lonet "lonett" E "`) || !strings.HasSuffix(got, "\"\n") {
		t.Errorf("the answer has %d bytes: %.60q", len(got), got)
	}
}

// What strangers send reaches the log short and printable, at level Debug.
func TestLog(t *testing.T) {
	p := newPlace(t)
	log := &recorder{}
	p.cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if text := a.Value.String(); len(text) > 210 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("logged %s = %q", a.Key, text)
			}
			return a
		}}))
	p.host("α")
	for _, host := range []string{"a\x1b[2Jb", strings.Repeat("long", 200)} {
		c := p.raw(p.osladdr("α"))
		fmt.Fprintf(c, "> lonet \"lonett\" dial %q %q\n", host+":1", host+":1")
		answers(t, c)
	}
	eventually(t, "log", func() bool { return strings.Count(log.String(), "\n") == 2 })
	if strings.Contains(log.String(), "INFO") || strings.Contains(log.String(), "WARN") {
		t.Errorf("log: %s", log)
	}
}

// recorder is a log's output.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}
