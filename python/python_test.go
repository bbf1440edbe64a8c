package python

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
	_ "github.com/virtnet/virtnet/lonet" // of which the Go peer is made: results that go test remembers are old when it changes
)

// limit is how long the tests of one Python module may take. Each test has a limit of its own, of some minutes.
const limit = 8 * time.Minute

// peerDir is the program that the conformance tests talk to, and peerEnv names it to them.
const (
	peerDir = "tests/gopeer"
	peerEnv = "VIRTNET_GOPEER"
)

// TestUnittest runs each module of Python tests. With -race these are only the modules that talk to Go, since the
// race detector sees nothing of the others.
func TestUnittest(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the Python tests are for Unix")
	}
	python := needs.Program(t, "python3")
	sources(t)
	modules, err := filepath.Glob("tests/test_*.py")
	if err != nil || len(modules) == 0 {
		t.Fatalf("modules of tests: %q, %v", modules, err)
	}
	env := append(os.Environ(),
		peerEnv+"="+goPeer(t),
		"PYTHONUTF8=1",
		"PYTHONPYCACHEPREFIX="+t.TempDir()) // the tree stays clean, and nothing is compiled twice
	for _, path := range modules {
		if raceEnabled && !usesPeer(t, path) {
			continue
		}
		module := strings.TrimSuffix(filepath.Base(path), ".py")
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			// Verbose, so that it shows which test it was even if that ends the process.
			cmd := exec.CommandContext(ctx, python, "-W", "error::ResourceWarning", "-m", "unittest", "-v", module)
			cmd.Dir, cmd.Env, cmd.WaitDelay = "tests", env, 10*time.Second
			out, err := cmd.CombinedOutput()
			// Python cannot raise what is found when an object is freed, it prints that only.
			if err != nil || bytes.Contains(out, []byte("ResourceWarning: ")) {
				t.Errorf("python3 -m unittest %s: %v\n%s", module, err, out)
			}
		})
	}
}

// goPeer builds the peer, with -race if the tests are, and returns its path.
func goPeer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gopeer")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, "./"+peerDir)...).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", peerDir, err, out)
	}
	return path
}

// usesPeer tells whether a module of tests talks to the peer.
func usesPeer(t *testing.T, path string) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^from peers import .*\bGO\b`).Match(text)
}

// sources reads all files of this directory. go test remembers which files a test has read, not those that its
// children have, and takes a result for old when they change.
func sources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "__pycache__":
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		_, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
