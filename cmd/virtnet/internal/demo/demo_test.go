package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runDemo runs the demo in a temporary directory of its own, and checks that nothing is left in it.
func runDemo(t *testing.T, ctx context.Context, c Config) error {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	if c.Command == nil {
		c.Command = []string{self(t), "process"}
	}
	err := Run(ctx, c)
	for _, pattern := range []string{"lonet/*", "virtnet-demo-*"} {
		if left, _ := filepath.Glob(filepath.Join(tmp, filepath.FromSlash(pattern))); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
	return err
}

func TestDemo(t *testing.T) {
	var buf bytes.Buffer
	err := runDemo(t, t.Context(), Config{Out: &buf})
	out := buf.String()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(out, "✓"); n < 10 || strings.Contains(out, "✗") || !strings.Contains(out, "All ") {
		t.Errorf("%d checks\n%s", n, out)
	}
	if n := strings.Count(out, `connection refused: the process of host "α" (127.0.0.1:`); n != 2 {
		t.Errorf("%d clients hear that the process is gone, want 2\n%s", n, out)
	}
}

func TestDemoJSONOfDir(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"index.html": 10, "a ?#%41": 100_000, "empty": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := runDemo(t, t.Context(), Config{Dir: dir, JSON: true, Out: &out}); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	count := make(map[string]int)
	var last map[string]any
	for line := range strings.Lines(out.String()) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		count[last["event"].(string)]++
	}
	if last["event"] != "result" || last["ok"] != true {
		t.Errorf("last line %v, want a result that is ok", last)
	}
	// β, γ and south fetch three files each; α is ready twice.
	if count["fetched"] != 9 || count["ready"] != 6 || count["ended"] != 1 || count["cut"] < 2 {
		t.Errorf("events %v", count)
	}
	if _, err := os.Stat(filepath.Join(dir, "empty")); err != nil {
		t.Errorf("the user's directory: %v", err)
	}
}

func TestDemoFails(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{Dir: t.TempDir()}, "has no file to interrupt"},
		{Config{Dir: filepath.Join(t.TempDir(), "none")}, "none"},
		{Config{Command: []string{self(t), "babble"}}, "out of luck"},
		{Config{Command: []string{"/no such program"}}, "cannot start a process for α"},
	} {
		var out bytes.Buffer
		test.config.Out = &out
		err := runDemo(t, t.Context(), test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(out.String(), "The demo failed") {
			t.Errorf("error %v, want one with %q\n%s", err, test.want, &out)
		}
	}
}

// watched is an account that, once it has a text, calls a function for the error of every Write.
type watched struct {
	bytes.Buffer
	text string
	then func() error
}

func (w *watched) Write(b []byte) (int, error) {
	n, _ := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.text) {
		return n, w.then()
	}
	return n, nil
}

// oneFile makes a directory with one file.
func oneFile(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDemoInterrupted(t *testing.T) {
	dir := oneFile(t)
	stop := errors.New("stop")
	for _, step := range []string{"1. ", "2. ", "3. ", "4. ", "5. ", "6. "} {
		ctx, cancel := context.WithCancelCause(t.Context())
		out := &watched{text: step, then: func() error { cancel(stop); return nil }}
		err := runDemo(t, ctx, Config{Dir: dir, Out: out})
		if !errors.Is(err, stop) || !strings.Contains(out.String(), "The demo was stopped") {
			t.Errorf("stopped at %q: %v, want that it was stopped\n%s", step, err, out)
		}
	}
}

// A demo whose account cannot be written fails for that, wherever it is.
func TestDemoUnwritable(t *testing.T) {
	dir := oneFile(t)
	full := errors.New("no space")
	for _, text := range []string{"1. ", "α is process", "4. ", "All "} {
		writes := 0
		out := &watched{text: text, then: func() error { writes++; return full }}
		err := runDemo(t, t.Context(), Config{Dir: dir, Out: out})
		if want := "the account could not be written: no space"; !errors.Is(err, full) || err.Error() != want {
			t.Errorf("full at %q: %v, want %s\n%s", text, err, want, out)
		}
		if writes != 1 {
			t.Errorf("full at %q: %d writes fail, want one and no more", text, writes)
		}
	}
}
