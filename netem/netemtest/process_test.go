package netemtest_test

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
)

// fails runs one test of child_test.go in a process, which has to fail, and returns what it prints.
func fails(t *testing.T, test, env string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^" + test + "$"}, args...)...)
	return run(t, cmd, env)
}

// run runs a command that has to fail, as a child.
func run(t *testing.T, cmd *exec.Cmd, env string) string {
	t.Helper()
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "NETEM_SEEDS=") && !strings.HasPrefix(e, "GODEBUG=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, childEnv+"=1", env)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		t.Fatalf("%v: %v, want that it fails; it prints\n%s", cmd, err, out)
	}
	return string(out)
}

// want checks that the text has a match of each expression, in that order.
func want(t *testing.T, text string, expressions ...string) {
	t.Helper()
	if !regexp.MustCompile("(?s)" + strings.Join(expressions, ".*")).MatchString(text) {
		t.Errorf("got\n%s\nwant, in that order,\n%s", text, strings.Join(expressions, "\n"))
	}
}

const here = `github\.com/virtnet/virtnet/netem/netemtest\n`

func TestError(t *testing.T) {
	got := fails(t, "TestChildError", "")
	want(t, got, `wrong with 3\n`, `cleaned up\n`, `netem: seed 3; repeat with: go test.* -run '\^TestChildError\$/\^seed=3\$' `+here)
	if n := strings.Count(got, "repeat with"); n != 1 {
		t.Errorf("%d seeds say how to repeat them, want 1", n)
	}
	if strings.Contains(got, "have failed") {
		t.Errorf("one seed alone makes a list:\n%s", got)
	}
}

func TestSeedsOfEnvironment(t *testing.T) {
	got := fails(t, "TestChildError", "NETEM_SEEDS=4700-4799")
	want(t, got, `netem: seed 4711; repeat with: NETEM_SEEDS=4711 go test.* -run '\^TestChildError\$/\^seed=4711\$' `+here)
	got = fails(t, "TestChildError", "NETEM_SEEDS=a-b")
	want(t, got, `--- FAIL: TestChildError `, `NETEM_SEEDS is "a-b"; it must be a seed, as 17, or a range`)
	got = fails(t, "TestChildNoSeeds", "")
	want(t, got, `--- FAIL: TestChildNoSeeds `, `0 seeds: there must be one`)
}

func TestParallel(t *testing.T) {
	got := fails(t, "TestChildParallel", "")
	if n := strings.Count(got, "repeat with"); n != 25 {
		t.Errorf("%d seeds say how to repeat them, want 25:\n%s", n, got)
	}
	want(t, got, `netem: 25 of 30 seeds have failed: (\d+ ){20}\.\.\.\n`)
}

// A test that does not get as far as its end tells its seed, too.
func TestSudden(t *testing.T) {
	repeat := `netem: seed 3; repeat with: go test`
	want(t, fails(t, "TestChildPanic", ""), repeat, `panic: out of order`, `child_test\.go`)
	want(t, fails(t, "TestChildPanicElsewhere", ""), `panic: out of order`, `goroutine [^\n]*"TestChildPanicElsewhere/seed=3"`)
	want(t, fails(t, "TestChildPanicElsewhere", "GODEBUG=panicnil=1"), `goroutine [^\n]*"TestChildPanicElsewhere/seed=3"`)
	want(t, fails(t, "TestChildDeadlock", ""), repeat, `panic: deadlock`)
	if !testing.Short() {
		want(t, fails(t, "TestChildTimeout", "", "-test.timeout=3s"), `timed out`, `TestChildTimeout/seed=3`)
	}
}

// TestCommands has a shell run the commands that are printed. Each runs the one subtest that printed it.
func TestCommands(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("it runs go test, and a shell")
	}
	commands := func(text string) (all []string) {
		for _, m := range regexp.MustCompile(`repeat with: (.*)`).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		return all
	}
	once := fails(t, "TestChildNested", "") + fails(t, "TestChildError", "NETEM_SEEDS=4711")
	all := commands(once)
	if len(all) != 4*2+1 {
		t.Fatalf("%d commands, want 9:\n%s", len(all), once)
	}
	for _, c := range all {
		again := run(t, exec.CommandContext(t.Context(), "sh", "-c", c), "")
		if got := commands(again); len(got) != 1 || got[0] != c {
			t.Errorf("%s\nprints commands %q, want that one; it prints\n%s", c, got, again)
		}
	}
}

func TestRun(t *testing.T) {
	t.Setenv("NETEM_SEEDS", "")
	real, began := time.Now(), make(map[uint64]time.Time)
	netemtest.Run(t, 3, func(t *testing.T, em *netem.Net) {
		began[em.Seed()] = time.Now()
		time.Sleep(time.Hour)
	})
	netemtest.Config{RealTime: true}.Run(t, 4, func(t *testing.T, em *netem.Net) {
		if em.Seed() == 4 {
			began[4] = time.Now()
		}
	})
	for seed := uint64(1); seed <= 4; seed++ {
		if at, bubble := began[seed], seed <= 3; at.IsZero() || bubble != at.Before(real) {
			t.Errorf("seed %d ran at %v, want in a bubble: %v", seed, at, bubble)
		}
	}
	if len(began) != 4 {
		t.Errorf("%d seeds, want 4", len(began))
	}
}
