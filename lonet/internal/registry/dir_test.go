package registry

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestNetworkNames(t *testing.T) {
	long := strings.Repeat("n", 253)
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 200), strings.Repeat("e", 200))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, tmp, want string // want is a regular expression, empty for success
	}{
		{name: "α"},
		{name: long},
		{name: "..", want: `lonet: open \[".."\]: network name: invalid name "\.\.": it is a directory reference$`},
		{name: "a/b", want: `network name: invalid name "a/b": it contains '/'`},
		{name: long + "n", want: `network name: invalid name .*…: it is 256 bytes when quoted`},
		{name: "\xff", want: `network name: invalid name "\\xff": it is not valid UTF-8`},
		{name: long, tmp: deep, want: `network name: .* is \d+ bytes long, at most 503 are possible$`},
	} {
		c := Config{TempDir: test.tmp}
		if c.TempDir == "" {
			c.TempDir = t.TempDir()
		}
		r, err := c.Open(t.Context(), test.name, "127.0.0.1:1")
		if test.want == "" {
			if err != nil {
				t.Errorf("%.20q: %v", test.name, err)
				continue
			}
			if r.Network() != test.name {
				t.Errorf("%.20q: the network is %q", test.name, r.Network())
			}
			r.Close()
		} else if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%.20q: got error %v, want %s", test.name, err, test.want)
		}
	}
}

func TestNewNetwork(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, ""), join(t, c, "")
	if a.Network() == "" || a.Network() == b.Network() {
		t.Fatalf("two new networks are %q and %q", a.Network(), b.Network())
	}
	// Its name is as good as any other.
	if err := a.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	again := join(t, c, a.Network())
	if got, err := again.Query(t.Context(), "α"); got != a.osladdr {
		t.Errorf("query: %q, %v; want %q", got, err, a.osladdr)
	}
}

func TestNotADirectory(t *testing.T) {
	tmp := t.TempDir()
	c := Config{TempDir: tmp}
	check := func(want string) {
		t.Helper()
		_, err := c.Open(t.Context(), "n", "127.0.0.1:1")
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got error %v, want %q at its end", err, want)
		}
	}
	elsewhere := filepath.Join(tmp, "elsewhere")
	os.Mkdir(elsewhere, 0o755)

	if err := os.Symlink(elsewhere, c.Dir()); err != nil {
		missing(t, "the right to make symbolic links")
	}
	check("lonet is not a directory (L---------): remove it")
	os.Remove(c.Dir())

	os.Mkdir(c.Dir(), 0o755)
	network := filepath.Join(c.Dir(), "n")
	os.Symlink(elsewhere, network)
	check("n is a symbolic link: a network must be a directory")
	os.Remove(network)

	os.WriteFile(network, nil, 0o600)
	check("n is not a directory")

	if entries, _ := os.ReadDir(elsewhere); len(entries) != 0 {
		t.Errorf("the link was followed: %v", entries)
	}
	if fi, err := os.Stat(elsewhere); err == nil && fi.Mode()&os.ModeSticky != 0 {
		t.Error("the link's target was made everybody's")
	}
}
