// Package needs lets a test say which program of the machine it needs.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The tests' environment, set by scripts/test and by continuous integration.
const (
	requireEnv = "VIRTNET_TEST_REQUIRE" // "1": what is missing fails the test
	leftoutEnv = "VIRTNET_TEST_LEFTOUT" // file that gets a line for every test that is skipped
)

// Program returns the path of the first of names that is installed; the names are alternatives, as in
// Program(t, "python3", "python"). If there is none the test is skipped or, where VIRTNET_TEST_REQUIRE is 1,
// fails.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := strings.Join(names, " or ")
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("needs %s, which is not installed, and %s=1 is set", missing, requireEnv)
	}
	if err := note(missing + ": " + t.Name()); err != nil {
		t.Errorf("cannot note that the test is skipped: %v", err)
	}
	t.Skipf("needs %s, which is not installed", missing)
	return ""
}

// note adds a line to the list of what was left out, if there is one. Test binaries of several packages
// append to it at once: a line is one write.
func note(line string) error {
	path := os.Getenv(leftoutEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
