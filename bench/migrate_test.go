// Package bench has no code of its own, but this test, which needs the other multiplexers.
package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMigration runs the programs of docs/migrate-yamux.md. What the first does with yamux the second does with mux.
func TestMigration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "migrate-yamux.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	says := regexp.MustCompile("both print `(.*)`").FindStringSubmatch(string(text))
	if len(programs) != 2 || says == nil {
		t.Fatalf("the page has %d programs and says %q that they print, want 2 and a line", len(programs), says)
	}
	for i, want := range []string{"hashicorp/yamux", "virtnet/mux"} {
		program := programs[i][1]
		if !strings.Contains(program, want) {
			t.Errorf("program %d does not import %s", i+1, want)
		}
		path := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(path, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "vet", path).CombinedOutput(); err != nil {
			t.Errorf("vet of program %d: %v\n%s", i+1, err, out)
		}
		out, err := exec.CommandContext(t.Context(), "go", "run", path).Output() // yamux writes to standard error
		if err != nil || string(out) != says[1]+"\n" {
			t.Errorf("program %d prints %q (%v), want %q", i+1, out, err, says[1])
		}
	}
}
