package netem_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHour is an hour in the life of a cluster (hour_test.go). It says how much real time that takes.
func TestHour(t *testing.T) {
	if raceDetector && testing.Short() {
		t.Skip("it takes half a minute")
	}
	all, took := live(t, 1, time.Hour)
	count := make(map[what]int)
	for _, e := range all {
		count[e.what]++
	}
	var seen []string
	for w, name := range whats {
		n := count[what(w)]
		seen = append(seen, fmt.Sprintf("%s: %d", name, n))
		if (n > 0) == (what(w) == wrong) {
			t.Errorf("%s: %d times", name, n)
		}
	}
	if took > 20*time.Second && !raceDetector { // on a machine that is ten times as slow, or as busy
		t.Errorf("it takes %v of real time", took)
	}
	t.Logf("an hour of %d hosts takes %.2f s of real time, and is to take less than 2; %d events, %s",
		hosts, took.Seconds(), len(all), strings.Join(seen, ", "))
}

// TestRepeat runs that cluster many times, on one processor and on several. The same seed gives the same events at the
// same times, whichever goroutine runs first.
func TestRepeat(t *testing.T) {
	runs, long := 100, time.Hour
	switch {
	case os.Getenv("VIRTNET_TEST_LONG") == "1":
	case raceDetector:
		runs, long = 8, 5*time.Minute
	case testing.Short():
		runs, long = 20, 5*time.Minute
	case os.Getenv("VIRTNET_TEST_REQUIRE") != "1": // continuous integration has the time for all of it
		runs = 20
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	first := make(map[uint64][]event)
	var took [2]time.Duration // by processors
	for i := range runs {
		runtime.GOMAXPROCS(1 + i%2)
		seed := uint64(1 + i/2%2)
		got, d := live(t, seed, long)
		took[i%2] += d
		want, again := first[seed]
		if !again {
			first[seed] = got
		} else if diff := difference(got, want); diff != "" {
			t.Fatalf("run %d with seed %d differs: %s", i, seed, diff)
		}
	}
	if difference(first[1], first[2]) == "" {
		t.Error("two seeds give the same events")
	}
	n := time.Duration(runs / 2)
	t.Logf("%d times %v, with %d and %d events; %v of real time each on one processor, %v on two",
		runs, long, len(first[1]), len(first[2]), took[0]/n, took[1]/n)
}

// difference returns the first events that differ, "" if there are none.
func difference(got, want []event) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("event %d is missing: %v", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("event %d is one too many: %v", i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("event %d:\n\tgot  %v\n\twant %v", i, got[i], want[i])
		}
	}
	return ""
}
