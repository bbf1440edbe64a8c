package hostname

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheck(t *testing.T) {
	for _, x := range []struct{ name, err string }{
		{name: "α"},
		{name: "a"},
		{name: "host-1.example"},
		{name: "..."},
		{name: ".hidden"},
		{name: "two words"},
		{name: "\""},
		{name: "\ufffd"}, // the replacement character itself is valid
		{name: strings.Repeat("x", 253)},
		{"", "invalid name: it is empty"},
		{".", `invalid name ".": it is a directory reference`},
		{"..", `invalid name "..": it is a directory reference`},
		{"a\xff", `invalid name "a\xff": it is not valid UTF-8`},
		{"a/b", `invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`},
		{`a\b`, `invalid name "a\\b": it contains '\\' (none of / \ : [ ] % is allowed)`},
		{"a:b", `invalid name "a:b": it contains ':' (none of / \ : [ ] % is allowed)`},
		{"a[", `invalid name "a[": it contains '[' (none of / \ : [ ] % is allowed)`},
		{"a]", `invalid name "a]": it contains ']' (none of / \ : [ ] % is allowed)`},
		{"a%b", `invalid name "a%b": it contains '%' (none of / \ : [ ] % is allowed)`},
		{"a\x00", `invalid name "a\x00": it contains a control character`},
		{"a\nb", `invalid name "a\nb": it contains a control character`},
		{"a\u0085", `invalid name "a\u0085": it contains a control character`},
		{"\x7f", `invalid name "\x7f": it contains a control character`},
		{strings.Repeat("x", 254), `invalid name "` + strings.Repeat("x", 63) + `…: it is 256 bytes when quoted, at most 255 are allowed`},
		{strings.Repeat("\"", 127), `invalid name "` + strings.Repeat(`\"`, 31) + `\…: it is 256 bytes when quoted, at most 255 are allowed`},
	} {
		got := ""
		if err := Check(x.name); err != nil {
			got = err.Error()
		}
		if got != x.err {
			t.Errorf("Check(%q): %q, want %q", x.name, got, x.err)
		}
	}
}

// A valid name survives what addresses, paths and lines do to it, and the error about any other can be printed.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"α", "", "..", "a\xff", "a/b", "a\u2028b", strings.Repeat("é", 200), "\u200b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := Check(name)
		if err != nil {
			text := err.Error()
			if !strings.HasPrefix(text, "invalid name") || len(text) > 2000 || !utf8.ValidString(text) ||
				strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("Check(%q): error %q", name, text)
			}
			return
		}
		if quoted := strconv.Quote(name); len(quoted) > 255 {
			t.Errorf("%q is %d bytes when quoted", name, len(quoted))
		}
		if !utf8.ValidString(name) || name == "" || name == "." || name == ".." ||
			strings.ContainsAny(name, `/\:[]%`) || strings.ContainsFunc(name, unicode.IsControl) {
			t.Errorf("Check(%q) allows it", name)
		}
		if host, _, err := net.SplitHostPort(net.JoinHostPort(name, "1")); host != name || err != nil {
			t.Errorf("in an address %q is %q, %v", name, host, err)
		}
		if base := filepath.Base(filepath.Join("dir", name)); base != name {
			t.Errorf("in a path %q is %q", name, base)
		}
		if got, err := strconv.Unquote(strconv.Quote(name)); got != name || err != nil {
			t.Errorf("in a line %q is %q, %v", name, got, err)
		}
	})
}
