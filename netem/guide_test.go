package netem_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestGuide runs the test of docs/testing.md.
func TestGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles net/http")
	}
	text, err := os.ReadFile(filepath.Join("..", "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1)
	if len(programs) == 0 {
		t.Fatal("docs/testing.md has no test")
	}
	for i, p := range programs {
		path := filepath.Join(t.TempDir(), "guide_test.go")
		if err := os.WriteFile(path, p[1], 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "test", path).CombinedOutput(); err != nil {
			t.Errorf("test %d: %v\n%s", i+1, err, out)
		}
	}
}
