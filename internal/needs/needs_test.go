package needs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// fake is a testing.TB that records what Program does with it.
type fake struct {
	testing.TB
	skipped, failed string
}

func (f *fake) Helper()                   {}
func (f *fake) Name() string              { return "TestFake" }
func (f *fake) Skipf(s string, a ...any)  { f.skipped = fmt.Sprintf(s, a...); runtime.Goexit() }
func (f *fake) Fatalf(s string, a ...any) { f.failed = fmt.Sprintf(s, a...); runtime.Goexit() }

// program calls Program on a goroutine of its own, which Skipf and Fatalf end.
func program(names ...string) (path string, f *fake) {
	f = new(fake)
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Program(f, names...)
	}()
	<-done
	return path, f
}

func TestProgram(t *testing.T) {
	const missing = "virtnet-no-such-program"
	leftout := filepath.Join(t.TempDir(), "leftout")
	t.Setenv(leftoutEnv, leftout)

	t.Setenv(requireEnv, "")
	if path, f := program(missing, "go"); path == "" || *f != (fake{}) {
		t.Errorf("with the second installed: path %q, skipped %q, failed %q", path, f.skipped, f.failed)
	}
	if _, err := os.Stat(leftout); err == nil {
		t.Error("noted as left out, though the program is there")
	}

	_, f := program(missing)
	if want := "needs " + missing + ", which is not installed"; f.skipped != want || f.failed != "" {
		t.Errorf("without it: skipped %q, failed %q, want skipped %q", f.skipped, f.failed, want)
	}
	program(missing, "also-missing")
	got, err := os.ReadFile(leftout)
	want := missing + ": TestFake\n" + missing + " or also-missing: TestFake\n"
	if err != nil || string(got) != want {
		t.Errorf("list of what was left out:\ngot  %q, %v\nwant %q", got, err, want)
	}

	t.Setenv(requireEnv, "1")
	if _, f := program(missing); f.failed == "" || f.skipped != "" {
		t.Errorf("required: skipped %q, failed %q, want failed", f.skipped, f.failed)
	}
}
