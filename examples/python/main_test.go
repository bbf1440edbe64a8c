package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
)

// TestClient checks that the two programs understand each other, and what the client says when they do not.
func TestClient(t *testing.T) {
	python := needs.Program(t, "python3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	if _, err := os.ReadFile("client.py"); err != nil { // go test then knows when it changes
		t.Fatal(err)
	}
	lib, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir, "PYTHONPATH="+lib, "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}
	ask := func(network, text string) string {
		out, _ := start(python, "client.py", network, text).CombinedOutput()
		return string(out)
	}

	bin := filepath.Join(dir, "words")
	if out, err := start("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	server := start(bin, "tea")
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if want := "words are counted at words:1 on lonettea\n"; line != want {
		t.Fatalf("the server prints %q, %v; want %q", line, err, want)
	}

	for _, test := range []struct{ network, text, want string }{
		{"tea", "two for tea", "writer:1, that is 3 words\n"},
		{"tea", strings.Repeat("α ", 5000), "writer:1, that is 5000 words\n"},
		{"coffee", "one", "query [\"words\"]: no such host\n"},
	} {
		if got := ask(test.network, test.text); !strings.HasSuffix(got, test.want) {
			t.Errorf("on %s the client prints %q, want %q", test.network, got, test.want)
		}
	}
	server.Process.Kill()
	server.Wait()
	if got, want := ask("tea", "one"), "the process of host \"words\" ("; !strings.Contains(got, want) {
		t.Errorf("with the server killed, the client prints %q, want one with %q", got, want)
	}
}
