package lonet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/virtnet/virtnet/lonet"
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

// endsWith reads what is answered on c, which must be this and then the end, not a reset.
func endsWith(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got, err := io.ReadAll(c)
	if string(got) != want || err != nil {
		t.Errorf(" got %q, error %v\nwant %q", got, err, want)
	}
}

// Each bad request gets its answer, however it comes and whatever comes behind it, and then the connection ends.
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
		want := `< lonet "lonett" E "` + test.want + `"` + "\n"
		for name, behind := range map[string]string{"alone": "", "with more": "more", "with much": strings.Repeat("more\n", 20000)} {
			t.Run(fmt.Sprintf("%.40q %s", test.send, name), func(t *testing.T) {
				c := p.raw(osladdr)
				if _, err := io.WriteString(c, test.send+behind); err != nil {
					t.Fatal(err)
				}
				endsWith(t, c, want)
				c.Close()
			})
		}
		t.Run(fmt.Sprintf("%.40q byte by byte", test.send), func(t *testing.T) {
			c := p.raw(osladdr)
			for _, b := range []byte(test.send + strings.Repeat("x", 100)) {
				if _, err := c.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			endsWith(t, c, want)
			c.Close()
		})
	}
}

// A dial that has waited for its Accept and is refused is told so though payload came behind it.
func TestLateAnswer(t *testing.T) {
	p := newPlace(t)
	l := p.listen(p.host("α"), ":7")
	c := p.raw(p.osladdr("α"))
	if _, err := io.WriteString(c, `> lonet "lonett" dial "β:1" "α:7"`+"\n"+strings.Repeat("payload", 10000)); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * lonet.WatchAfter) // so that it waits: not awaited, only likely
	l.Close()
	endsWith(t, c, `< lonet "lonett" E "connection refused"`+"\n")
}

// Half a megabyte without a newline gets its answer; who goes on and on is cut off.
func TestEndlessLine(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	c := p.raw(p.osladdr("α"))
	if _, err := c.Write(make([]byte, 1<<19)); err != nil {
		t.Fatal(err)
	}
	endsWith(t, c, `< lonet "lonett" E "protocol error: invalid dial request"`+"\n")

	c = p.raw(p.osladdr("α"))
	_, err := c.Write(make([]byte, 1<<20))
	for i := 0; err == nil && i < 100; i++ {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if ne, ok := err.(net.Error); err == nil || ok && ne.Timeout() {
		t.Errorf("it reads on: %v", err)
	}
}

// Who was turned away and does not go is left after a while.
func TestLinger(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	osladdr := p.osladdr("α") // to ask SQLite leaves descriptors for a while
	open, start := descriptors(), time.Now()
	c := p.raw(osladdr)
	io.WriteString(c, "\n")
	endsWith(t, c, `< lonet "lonett" E "protocol error: invalid dial request"`+"\n")
	for range 3 { // what comes late does not end it, nor make it last
		if _, err := io.WriteString(c, "more"); err != nil && time.Since(start) < lonet.LingerTime {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		<-time.After(lonet.LingerTime / 10)
	}
	eventually(t, "it is closed", func() bool { return descriptors() <= open+1 }) // c
	if took := time.Since(start); descriptors() > 0 && (took < lonet.LingerTime || took > lonet.LingerTime+5*time.Second) {
		t.Errorf("it was closed after %v, want %v", took, lonet.LingerTime)
	}
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
	p.cfg.HandshakeTimeout = 200 * time.Millisecond
	log := &records{}
	p.cfg.Log = slog.New(log)
	p.listen(p.host("α"), ":1")
	long := strings.Repeat("long", 50)
	const rlo = "\u202e" // what follows is shown from right to left; a name may have it
	lines := []string{
		"", "\n", "\x1b[2J\n", "\x00\n", "> lonet", strings.Repeat("\x07", 1024),
		"> lonet \"lonet\x1b[2J\" dial \"β:1\" \"α:1\"\n",
	}
	for _, host := range []string{"a\x1b[2Jb", "a" + rlo + "b", "a\u0085", "a\u2028\u2029b", "\ufeff", "\xff", "\U000e0001", long, long[1:] + rlo, "nohost", "α"} {
		lines = append(lines,
			fmt.Sprintf("> lonet %q dial %q %q\n", "lonett", host+":1", host+":1"),
			fmt.Sprintf("> lonet %q dial %q %q\n", "lonett", "β:1", host+":9"),
			fmt.Sprintf("> lonet \"%s\" dial \"%s:1\" \"%[2]s:9\"\n", "lonett", host)) // not escaped
	}
	for _, line := range lines {
		c := p.raw(p.osladdr("α"))
		io.WriteString(c, line)
		c.CloseWrite()
		answers(t, c)
	}
	p.raw(p.osladdr("α")) // it is dropped
	eventually(t, "each is logged", func() bool { return len(log.all()) == len(lines)+1 })
	for _, r := range log.all() {
		if r.Level != slog.LevelDebug || r.Message != "lonet: incoming" {
			t.Errorf("logged at %v: %q", r.Level, r.Message)
		}
		r.Attrs(func(a slog.Attr) bool {
			text := a.Value.String()
			if len(text) > 200 || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) || !utf8.ValidString(text) {
				t.Errorf("logged %s = %q, %d bytes", a.Key, text, len(text))
			}
			return true
		})
	}
}

// records is a log that keeps what comes to it as it is.
type records struct {
	mu   sync.Mutex
	list []slog.Record
}

func (*records) Enabled(context.Context, slog.Level) bool { return true }

func (l *records) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r)
	return nil
}

func (l *records) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *records) WithGroup(string) slog.Handler      { return l }

func (l *records) all() []slog.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// Nothing is logged that nobody has asked for.
func TestNoLog(t *testing.T) {
	all := &records{}
	before, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(all)) // package log writes there, too
	defer func() { slog.SetDefault(before); log.SetOutput(out); log.SetFlags(flags) }()
	log.Print("x")
	if len(all.all()) != 1 {
		t.Fatal("the test does not see what is logged")
	}
	p := newPlace(t)
	p.host("α")
	for _, line := range nonsense {
		c := p.raw(p.osladdr("α"))
		io.WriteString(c, line)
		c.CloseWrite()
		answers(t, c)
	}
	if got := all.all()[1:]; len(got) > 0 {
		t.Errorf("logged: %v", got)
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
