package netemtest

import (
	"regexp"
	"runtime/debug"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"TestX/seed=17", `^TestX$/^seed=17$`},
		{"TestX/a.b(c)/seed=17#01", `^TestX$/^a\.b\(c\)$/^seed=17#01$`},
		{`TestX/a|b[/\x00/α/seed=1`, `^TestX$/^a\|b\[$/^\\x00$/^α$/^seed=1$`},
		{"TestX//seed=1", `^TestX$/^$/^seed=1$`},
	} {
		if got := pattern(test.name); got != test.want {
			t.Errorf("pattern of %s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestPackageOf(t *testing.T) {
	for _, test := range []struct{ path, want string }{
		{"example.com/a/b.v2.test", "example.com/a/b.v2"},
		{"command-line-arguments.test", ""},
		{"", ""},
	} {
		if got := packageOf(&debug.BuildInfo{Path: test.path}); got != test.want {
			t.Errorf("package of %q: got %q, want %q", test.path, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ s, want string }{
		{"a/b.v2", "a/b.v2"},
		{"", "''"},
		{"a b", "'a b'"},
		{"it's", `'it'\''s'`},
		{"$x", "'$x'"},
	} {
		if got := quote(test.s); got != test.want {
			t.Errorf("quote of %q: got %s, want %s", test.s, got, test.want)
		}
	}
}

// A seed that the test does not run by itself needs the environment.
func TestCommandSeed(t *testing.T) {
	usual := seedRange{1, 50}
	for _, test := range []struct {
		seed uint64
		want string
	}{
		{1, `^go test`}, {50, `^go test`}, {0, `^NETEM_SEEDS=0 go test`}, {51, `^NETEM_SEEDS=51 go test`},
	} {
		if got := command("TestX", test.seed, usual); !regexp.MustCompile(test.want).MatchString(got) {
			t.Errorf("command for seed %d: got %s, want %s", test.seed, got, test.want)
		}
	}
}
