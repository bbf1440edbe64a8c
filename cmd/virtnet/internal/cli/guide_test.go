package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
)

// The guide's blocks do what it says: each is a shell script, and what it prints.
func TestGuide(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the guide is for a Unix shell")
	}
	bash := needs.Program(t, "bash")
	needs.Program(t, "curl")
	needs.Program(t, "python3")
	text, err := os.ReadFile(filepath.FromSlash("../../../../docs/guide-lonet.md"))
	if err != nil {
		t.Fatal(err)
	}
	bin := commandDir(t)
	tasks := regexp.MustCompile("(?s)\n## ([^\n]+)\n.*?```sh\n(.*?)```\n\n```text\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(tasks) != 5 {
		t.Fatalf("%d tasks in the guide, want 5", len(tasks))
	}
	for _, task := range tasks {
		title, script, want := task[1], freePorts(t, task[2]), task[3]
		t.Run(title, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			// In the end the script's children go, as they would with a terminal.
			cmd := exec.CommandContext(ctx, bash, "-eu", "-c", "trap 'kill $(jobs -p) 2> /dev/null || true; wait || true' EXIT\n"+script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.Output()
			if err != nil || string(out) != want {
				t.Errorf("%v; it prints\n%s\nwant\n%s\nstderr\n%s", err, out, want, &stderr)
			}
		})
	}
}

// commandDir returns a directory with the command in it, under its own name.
func commandDir(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "virtnet")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freePorts puts ports that are free here in the place of the guide's, which may not be.
func freePorts(t *testing.T, script string) string {
	free := make(map[string]string)
	return regexp.MustCompile(`\b847[0-9]\b`).ReplaceAllStringFunc(script, func(port string) string {
		if free[port] == "" {
			free[port] = freePort(t)
		}
		return free[port]
	})
}
