package astranet_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of a node is left when all tests are done. In a child process it plays that part.
func TestMain(m *testing.M) {
	if part := os.Getenv(childPart); part != "" {
		os.Exit(children[part]())
	}
	code := m.Run()
	if left := leftGoroutines(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of the goroutines that nodes have started and that do not end.
func leftGoroutines() string {
	left := ownGoroutines()
	for end := time.Now().Add(5 * time.Second); len(left) > 0 && time.Now().Before(end); left = ownGoroutines() {
		time.Sleep(time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// ownGoroutines returns the stacks of the goroutines that nodes have started.
func ownGoroutines() (own []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		_, by, _ := strings.Cut(stack, "created by ")
		by, _, _ = strings.Cut(by, "\n\t/")
		switch {
		case strings.Contains(by, "virtnet/mux."), strings.Contains(by, "virtnet/astranet."):
			own = append(own, stack)
		case strings.HasPrefix(by, "sync.(*WaitGroup).Go") && strings.Contains(stack, "virtnet/astranet.("):
			own = append(own, stack)
		}
	}
	return own
}
