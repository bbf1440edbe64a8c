package mux_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of this package is left when all tests are done.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of the goroutines that this package has started and that do not end.
func leftGoroutines() string {
	left := ownGoroutines()
	for end := time.Now().Add(5 * time.Second); len(left) > 0 && time.Now().Before(end); left = ownGoroutines() {
		time.Sleep(time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// ownGoroutines returns the stacks of the goroutines that this package has started.
func ownGoroutines() (own []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if _, by, ok := strings.Cut(stack, "created by "); ok && strings.Contains(by, "virtnet/mux") {
			own = append(own, stack)
		}
	}
	return own
}
