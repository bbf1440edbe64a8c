// Package netemtest runs a test with many seeds, each in virtual time, and tells how to repeat the one that fails.
//
//	func TestElection(t *testing.T) {
//		netemtest.Run(t, 50, func(t *testing.T, em *netem.Net) {
//			n := pipenet.Config{Emulator: em, Buffer: -1}.New("t")
//			defer n.Close()
//			...
//		})
//	}
//
// Every seed is a subtest. The log of one that fails ends with the command that runs that seed alone:
//
//	netem: seed 17; repeat with: go test -run '^TestElection$/^seed=17$' example.com/raft
//
// The command is for a Unix shell, anywhere in the module.
//
// # Other seeds
//
// The environment variable NETEM_SEEDS runs other seeds than those that the test asks for: one, or a range.
//
//	NETEM_SEEDS=4711 go test -run '^TestElection$' example.com/raft
//	NETEM_SEEDS=1000-1999 go test ./...
//
// # Tests that do not get as far as their end
//
// After a panic of the test's own goroutine, and when all goroutines of the bubble are blocked for good, the command is
// the line before the panic. A time-out of go test names the subtests that were running.
//
// A panic of another goroutine ends the program before anything can be printed. So that it tells its seed nevertheless, Run
// labels the subtest's goroutines with the subtest's name, and adds tracebacklabels=1 to GODEBUG in the environment of the
// process, unless that has the setting already: the trace begins
//
//	goroutine 9 [running, synctest bubble 1 labels:{"test": "TestElection/seed=17"}]:
//
// The function of a timer has no labels, nor have the goroutines that it starts: there, go test -v names the subtest.
package netemtest

import (
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/virtnet/virtnet/netem"
)

// Config says how a test runs its seeds. The zero value is what [Run] uses.
type Config struct {
	// Parallel has the seeds run beside each other and beside other parallel tests. As always with parallel subtests, they
	// run when the function that has called Run returns.
	Parallel bool

	// RealTime runs f without a bubble, for networks that wait for the operating system, as lonet.
	RealTime bool
}

// Run calls f for the seeds from 1 up to seeds, or for those that NETEM_SEEDS says, each in a subtest with the name
// "seed=17" and in a bubble of testing/synctest. em is a new Net with that seed, for the network that f makes.
//
// What holds for [synctest.Test] holds for f: it has no subtests, and when it returns, all goroutines that it has started
// end.
func Run(t *testing.T, seeds int, f func(t *testing.T, em *netem.Net)) {
	t.Helper()
	Config{}.Run(t, seeds, f)
}

// Run is as the function Run, with these settings.
func (c Config) Run(t *testing.T, seeds int, f func(t *testing.T, em *netem.Net)) {
	t.Helper()
	usual, err := seedsTo(seeds)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := seedsFromEnv(usual)
	if err != nil {
		t.Fatal(err)
	}
	labelTraces()
	failed := report(t, chosen)
	for seed := range chosen.all() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			hint := func() string {
				return fmt.Sprintf("netem: seed %d; repeat with: %s", seed, command(t.Name(), seed, usual))
			}
			t.Cleanup(func() { // the first Cleanup is the last to run
				if t.Failed() {
					failed(seed)
					t.Log(hint())
				}
			})
			if c.Parallel {
				t.Parallel()
			}
			c.run(t, hint, func(t *testing.T) { f(t, netem.New(seed)) })
		})
	}
}

// run runs one seed. hint tells how to repeat it.
func (c Config) run(t *testing.T, hint func() string, f func(t *testing.T)) {
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels("test", t.Name())))
	guarded := func(t *testing.T) {
		defer beforePanic(hint)
		f(t)
	}
	if c.RealTime {
		guarded(t)
		return
	}
	defer beforePanic(hint) // of a bubble that is deadlocked
	synctest.Test(t, guarded)
}

// beforePanic is deferred, and prints the hint if there is a panic, in which all that is logged gets lost.
func beforePanic(hint func() string) {
	if r := recover(); r != nil {
		fmt.Fprintln(os.Stderr, hint())
		panic(r)
	}
}

// most is how many failed seeds the list names.
const most = 20

// report has the log of t end with how many of its seeds have failed, and which, if they are several. It returns what
// is called for each of those.
func report(t *testing.T, of seedRange) (failed func(seed uint64)) {
	var mu sync.Mutex
	var list []string
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if n := len(list); n > 1 {
			more := ""
			if n > most {
				more = " ..."
			}
			t.Logf("netem: %d of %d seeds have failed: %s%s", n, of.count(), strings.Join(list[:min(n, most)], " "), more)
		}
	})
	return func(seed uint64) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, fmt.Sprint(seed))
	}
}

// labelTraces has the trace of a panic show the labels of its goroutine, which it does not by default before Go 1.27.
var labelTraces = sync.OnceFunc(func() {
	const setting = "tracebacklabels="
	old := os.Getenv("GODEBUG")
	if strings.Contains(old, setting) {
		return
	}
	if old != "" {
		old += ","
	}
	_ = os.Setenv("GODEBUG", old+setting+"1") // without it a trace just lacks the name
})
