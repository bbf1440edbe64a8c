package lonet

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/virtnet/virtnet"
)

// Lines as they are on the wire, without the newline that append adds.
var requests = []struct {
	line string
	want request
}{
	{`> lonet "lonett" dial "β:1" "α:10"`, request{"lonett", "β:1", "α:10"}},
	{`> lonet "" dial "" ""`, request{}},
	{`> lonet "lonet\"\n" dial "we\"ird:1" "\\:2"`, request{"lonet\"\n", `we"ird:1`, `\:2`}},
	{`> lonet "lonett" dial "\x00:1" "\u00a0:1"`, request{"lonett", "\x00:1", "\u00a0:1"}},
}

var replies = []struct {
	line string
	want reply
}{
	{`< lonet "lonett" connected "α:1"`, reply{network: "lonett", accepted: "α:1"}},
	{`< lonet "lonett" E "connection refused"`, reply{network: "lonett", err: "connection refused"}},
	{`< lonet "lonett" E ""`, reply{network: "lonett"}},
	{`< lonet "lonet\t" E "a \"quoted\" text\n"`, reply{network: "lonet\t", err: "a \"quoted\" text\n"}},
}

func TestLines(t *testing.T) {
	for _, test := range requests {
		if got := string(test.want.append(nil)); got != test.line+"\n" {
			t.Errorf("request\n got %q\nwant %q", got, test.line+"\n")
		}
		if got, ok := parseRequest([]byte(test.line)); !ok || got != test.want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", test.line, got, ok, test.want)
		}
	}
	for _, test := range replies {
		if got := string(test.want.append(nil)); got != test.line+"\n" {
			t.Errorf("reply\n got %q\nwant %q", got, test.line+"\n")
		}
		if got, ok := parseReply([]byte(test.line)); !ok || got != test.want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", test.line, got, ok, test.want)
		}
	}
}

var badRequests = []string{
	``,
	`>`,
	`> lonet `,
	`> lonet "n"`,
	`> lonet "n" dial "a:1"`,
	`> lonet "n" dial "a:1" `,
	`> lonet "n" dial "a:1" "b:1" `,
	`> lonet "n" dial "a:1" "b:1" "c:1"`,
	`> lonet "n" dial "a:1"  "b:1"`,
	`>  lonet "n" dial "a:1" "b:1"`,
	`> lonet "n" dial "a:1" "b:1`,
	`> lonet "n" dial "a:1" b:1`,
	`> lonet "n" dial "a:1" 'b:1'`,
	`> lonet "n" dial "a:1" '1'`,
	`> lonet "n" connect "a:1" "b:1"`,
	`> lonet "n" Dial "a:1" "b:1"`,
	`> LONET "n" dial "a:1" "b:1"`,
	`< lonet "n" dial "a:1" "b:1"`,
	`lonet "n" dial "a:1" "b:1"`,
	`> lonet "n\q" dial "a:1" "b:1"`,
	`> lonet "n\" dial "a:1" "b:1"`,
	"> lonet `n` dial `a:1` `b:1`",
	"> lonet \"n\" dial \"a:1\" \"b:1\"\r",
	"> lonet \"n\" dial \"a:1\" \"b:1\"\x00",
	"\x00> lonet \"n\" dial \"a:1\" \"b:1\"",
	"GET / HTTP/1.1\r",
}

var badReplies = []string{
	``,
	`garbage`,
	`< lonet `,
	`< lonet "n"`,
	`< lonet "n" connected`,
	`< lonet "n" connected ""`,
	`< lonet "n" connected "a:1" `,
	`< lonet "n" connected "a:1" "b:1"`,
	`< lonet "n" foo "a:1"`,
	`< lonet "n" E`,
	`< lonet "n" E "x" y`,
	`< lonet "n" e "x"`,
	`> lonet "n" E "x"`,
	"< lonet `n` E `x`",
	"< lonet \"n\" E \"x\"\r",
}

func TestBadLines(t *testing.T) {
	for _, line := range badRequests {
		if r, ok := parseRequest([]byte(line)); ok {
			t.Errorf("%q is taken as the request %+v", line, r)
		}
	}
	for _, line := range badReplies {
		if r, ok := parseReply([]byte(line)); ok {
			t.Errorf("%q is taken as the reply %+v", line, r)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	const big = "2147483648"
	for _, test := range []struct {
		request
		want error
	}{
		{request{"lonett", "β:1", "α:10"}, nil},
		{request{"lonett", "β:0", "α:0"}, nil}, // nobody listens at port 0, which is for the core to say
		{request{"lonetx", "β:1", "α:1"}, errMismatch},
		{request{"t", "β:1", "α:1"}, errMismatch},
		{request{"", "β:1", "α:1"}, errMismatch},
		{request{"lonetx", "", ""}, errMismatch},
		{request{"lonett", "", "α:1"}, errBadSrc},
		{request{"lonett", "β", "α:1"}, errBadSrc},
		{request{"lonett", ":1", "α:1"}, errBadSrc},
		{request{"lonett", "β:x", "α:x"}, errBadSrc},
		{request{"lonett", "β\n:1", "α:1"}, errBadSrc},
		{request{"lonett", "β/:1", "α:1"}, errBadSrc},
		{request{"lonett", strings.Repeat("x", 254) + ":1", "α:1"}, errBadSrc},
		{request{"lonett", "β:-1", "α:1"}, errBadSrc},
		{request{"lonett", "β:1", ""}, errBadDst},
		{request{"lonett", "β:1", "α"}, errBadDst},
		{request{"lonett", "β:1", ":1"}, errBadDst},
		{request{"lonett", "β:1", "α:-1"}, errBadDst},
		{request{"lonett", "β:1", "α:+1"}, errBadDst},
		{request{"lonett", "β:1", "α:" + big}, errBadDst},
		{request{"lonett", "β:1", "α:1:1"}, errBadDst},
		{request{"lonett", "β:1", "\xff:1"}, errBadDst},
		{request{"lonett", "β:1", strings.Repeat("\x01", 100) + ":1"}, errBadDst},
	} {
		src, dst, err := test.check("lonett")
		if err != test.want {
			t.Errorf("%+v: error %v, want %v", test.request, err, test.want)
		}
		if err == nil && (src.String() != test.src || dst.String() != test.dst || src.Net != "lonett" || dst.Net != "lonett") {
			t.Errorf("%+v: addresses %+v, %+v", test.request, src, dst)
		}
	}
}

func TestCheckReply(t *testing.T) {
	dst := &virtnet.Addr{Net: "lonett", Host: "α", Port: 1}
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		reply
		want string // "" if it is accepted
		is   error
	}{
		{reply{"lonett", "α:2", ""}, "", nil},
		{reply{"lonett", "", "connection refused"}, "connection refused", virtnet.ErrConnRefused},
		{reply{"lonett", "", "address α:1: no such host"}, "no such host", virtnet.ErrNoHost},
		{reply{"lonett", "", "out of luck"}, "remote: out of luck", nil},
		{reply{"lonett", "", ""}, "remote: ", nil},
		{reply{"lonett", "", "clear \x1b[2J\n\xff"}, `remote: clear \x1b[2J\n\xff`, nil},
		{reply{"lonett", "", long}, "remote: " + long[:197] + "…", nil},
		{reply{"lonetx", "α:2", ""}, `protocol error: reply from network "lonetx"`, nil},
		{reply{"lonetx", "", "connection refused"}, `protocol error: reply from network "lonetx"`, nil},
		{reply{"lonetx", "", "address α:1: no such host"}, `protocol error: reply from network "lonetx"`, nil},
		{reply{"lonett", "α", ""}, `protocol error: accept address "α" invalid`, nil},
		{reply{"lonett", "α:0", ""}, `protocol error: accept address "α:0" invalid`, nil},
		{reply{"lonett", "α:x", ""}, `protocol error: accept address "α:x" invalid`, nil},
		{reply{"lonett", "other:2", ""}, `protocol error: accept address "other:2" is on another host`, nil},
		{reply{"lonett", ":2", ""}, `protocol error: accept address ":2" is on another host`, nil},
	} {
		a, err := test.check(dst)
		switch {
		case test.want == "":
			if err != nil || a.String() != test.accepted || a.Net != "lonett" {
				t.Errorf("%+v: address %+v, error %v", test.reply, a, err)
			}
		case a != nil || err == nil || err.Error() != test.want:
			t.Errorf("%+v:\n got %v, error %v\nwant %s", test.reply, a, err, test.want)
		case errors.Is(err, virtnet.ErrConnRefused) != (test.is == virtnet.ErrConnRefused),
			errors.Is(err, virtnet.ErrNoHost) != (test.is == virtnet.ErrNoHost):
			t.Errorf("%+v: the cause of %v is wrong", test.reply, err)
		}
	}
}

// A name of the greatest length makes a line that fits.
func TestLongestRequest(t *testing.T) {
	name := strings.Repeat("x", 253) // 255 with its quotes
	r := request{"lonet" + name, name + ":2147483647", name + ":2147483647"}
	line := r.append(nil)
	if len(line) > maxLine {
		t.Errorf("the line is %d bytes long, at most %d are possible", len(line), maxLine)
	}
	var buf lineBuffer
	if &r.append(buf[:0])[0] != &buf[0] {
		t.Error("the line did not fit into the buffer")
	}
}

// What others send is short and printable wherever we print it.
func TestShorten(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{`"no" such \host α`, `"no" such \host α`},
		{"a\x1b[2J\r\nb\x00\x7f", `a\x1b[2J\r\nb\x00\x7f`},
		{"a\u0085\u00a0\u2028\u202e\ufeff\U000e0001b", `a\u0085\u00a0\u2028\u202e\ufeff\U000e0001b`},
		{"\xff\xce", `\xff\xce`},
		{"\ufffd", "\ufffd"},
		{x(200), x(200)},
		{x(201), x(197) + "…"},
		{x(198) + "α", x(198) + "α"},
		{x(199) + "α", x(197) + "…"},
		{x(196) + "αβ", x(196) + "αβ"},
		{x(196) + "αβγ", x(196) + "…"},
		{x(196) + "\n", x(196) + `\n`},
		{x(196) + "\x00", x(196) + `\x00`},
		{x(197) + "\x00", x(197) + "…"},
		{strings.Repeat("\x00", 1000), strings.Repeat(`\x00`, 49) + "…"},
	} {
		if got := shorten(test.in); got != test.want || len(got) > 200 {
			t.Errorf("shorten(%q)\n got %q (%d bytes)\nwant %q", test.in, got, len(got), test.want)
		}
	}
}

// What parses prints back the same.
func FuzzRequest(f *testing.F) {
	for _, test := range requests {
		f.Add([]byte(test.line))
	}
	for _, line := range badRequests {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, ok := parseRequest(line)
		if !ok {
			return
		}
		if again, ok := parseRequest(trimNewline(t, r.append(nil))); !ok || again != r {
			t.Errorf("%q is %+v, which prints back as %+v, %v", line, r, again, ok)
		}
		src, dst, err := r.check(r.network)
		if err == nil {
			checkAddrs(t, r.network, src, dst)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, test := range replies {
		f.Add([]byte(test.line))
	}
	for _, line := range badReplies {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, ok := parseReply(line)
		if !ok {
			return
		}
		if again, ok := parseReply(trimNewline(t, r.append(nil))); !ok || again != r {
			t.Errorf("%q is %+v, which prints back as %+v, %v", line, r, again, ok)
		}
		for _, host := range []string{"α", cmp.Or(strings.TrimSuffix(r.accepted, ":1"), "β")} { // who dials names a host
			a, err := r.check(&virtnet.Addr{Net: r.network, Host: host, Port: 1})
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if err == nil {
				checkAddrs(t, r.network, a)
			}
		}
	})
}

// trimNewline takes off the newline, the only one that a printed line has.
func trimNewline(t *testing.T, line []byte) []byte {
	text, ok := strings.CutSuffix(string(line), "\n")
	if !ok || strings.ContainsAny(text, "\n\x00") {
		t.Errorf("printed as %q, which is not one line", line)
	}
	return []byte(text)
}

func checkAddrs(t *testing.T, network string, addrs ...*virtnet.Addr) {
	for _, a := range addrs {
		again, err := virtnet.ParseAddr(network, a.String())
		if err != nil || *again != *a || a.Host == "" {
			t.Errorf("address %+v prints back as %v, %v", a, fmt.Sprint(again), err)
		}
	}
}
