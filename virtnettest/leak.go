package virtnettest

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// NoLeaks makes the test fail if a goroutine that is started from now on is still there once the test's
// other cleanups have run, so it has to come first. It waits for up to two seconds for them to end. The
// test must not run in parallel to others.
func NoLeaks(t testing.TB) {
	t.Helper()
	noLeaks(t, false)
}

func noLeaks(t testing.TB, bubble bool) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		if left := leaked(before, bubble); len(left) > 0 {
			t.Errorf("%d goroutines are left:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// leaked returns the stacks of the goroutines that are not in before, and stay.
func leaked(before map[string]string, bubble bool) []string {
	const bound = 2 * time.Second
	if bubble {
		synctest.Wait() // what is still there now waits for something that will not come
	}
	for end := time.Now().Add(bound); ; {
		var left []string
		for id, stack := range goroutines() {
			if before[id] == "" {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || bubble || time.Now().After(end) {
			return left
		}
		<-time.After(time.Millisecond)
	}
}

// goroutines returns the stacks of all goroutines by their number, but for those that the runtime has for finalizers and
// cleanups: they show up whenever the collector gives them something to do.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if ofRuntime(stack) {
			continue
		}
		// goroutine 18 [chan receive]:
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		all[id] = strings.TrimSpace(stack)
	}
	return all
}

// ofRuntime tells whether it is the stack of one of the runtime's own goroutines: made by it, or, where that is not
// said, at work in it for nobody.
func ofRuntime(stack string) bool {
	_, frames, _ := strings.Cut(stack, "\n")
	return strings.Contains(frames, "created by runtime.") ||
		strings.HasPrefix(frames, "runtime.") && !strings.Contains(frames, "created by ")
}
