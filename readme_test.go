package virtnet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme vets the README's programs, and runs those that say what they print.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(programs) < 3 {
		t.Fatalf("README.md has %d programs, want one for each network, and mux's", len(programs))
	}
	for i, p := range programs {
		path := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(path, []byte(p[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "vet", path).CombinedOutput(); err != nil {
			t.Errorf("program %d: %v\n%s", i+1, err, out)
		}
		_, want, says := strings.Cut(p[1], "// hello")
		if !says {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "go", "run", path).CombinedOutput()
		if err != nil || string(out) != "hello"+want[:strings.Index(want, "\n")+1] {
			t.Errorf("program %d prints %q (%v), want what its comment says", i+1, out, err)
		}
	}
}
