package netemtest

import (
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// command returns the command that runs the test of that name, which belongs to a seed, once more as it ran now.
func command(name string, seed uint64, usual seedRange) string {
	var b strings.Builder
	if !usual.has(seed) {
		fmt.Fprintf(&b, "%s=%d ", seedsEnv, seed)
	}
	b.WriteString("go test")
	path := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		path = packageOf(info)
		for _, s := range info.Settings {
			switch {
			case s.Key == "-race" && s.Value == "true":
				b.WriteString(" -race")
			case s.Key == "-tags":
				b.WriteString(" -tags=" + quote(s.Value))
			}
		}
	}
	if testing.Short() {
		b.WriteString(" -short")
	}
	b.WriteString(" -run " + alwaysQuote(pattern(name)))
	if path != "" {
		b.WriteString(" " + quote(path))
	}
	return b.String()
}

// packageOf returns the import path of the package that a test binary is made of, "" if the files were named one by one.
func packageOf(info *debug.BuildInfo) string {
	path := strings.TrimSuffix(info.Path, ".test")
	if path == "command-line-arguments" {
		return ""
	}
	return path
}

// pattern returns what go test -run needs to run the test of that name, and no other: an expression for each element.
func pattern(name string) string {
	elements := strings.Split(name, "/")
	for i, e := range elements {
		elements[i] = "^" + regexp.QuoteMeta(e) + "$"
	}
	return strings.Join(elements, "/")
}

// quote returns s as a Unix shell wants it.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~/,-+=@:"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return alwaysQuote(s)
}

func alwaysQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
