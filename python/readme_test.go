package python

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/lonet"
)

// TestReadme runs the program in Python of the README of the whole, with the one in Go that it is a client of.
func TestReadme(t *testing.T) {
	python := needs.Program(t, "python3")
	sources(t)
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	save := func(name, pattern string) string {
		t.Helper()
		program := regexp.MustCompile(pattern).FindSubmatch(text)
		if program == nil {
			t.Fatalf("README.md has no %s", name)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, program[1], 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tea := save("tea.go", "(?s)Save this as `tea.go`.*?```go\n(.*?)```")
	ask := save("tea.py", "(?s)Save this as `tea.py`.*?```python\n(.*?)```")
	bin := filepath.Join(dir, "tea")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, tea).CombinedOutput(); err != nil {
		t.Fatalf("go build tea.go: %v\n%s", err, out)
	}
	lib, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	command := func(name, arg string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, name, arg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "PYTHONPATH="+lib, "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}
	server := command(bin, "α")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	waitForTea(ctx, t, dir)

	out, err := command(python, ask).CombinedOutput()
	if want := `<a href="tea.go">tea.go</a>`; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("tea.py: %v; it prints\n%s\nwant a line with %s", err, out, want)
	}
}

// waitForTea waits until somebody listens at α:80 on the network tea.
func waitForTea(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	network, err := lonet.Config{TempDir: dir}.Join(ctx, "tea")
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	host, err := network.NewHost(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	for {
		var conn net.Conn
		if conn, err = host.Dial(ctx, "α:80"); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
