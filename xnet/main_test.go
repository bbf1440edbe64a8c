package xnet

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
	// A goroutine that has been told to end may need a moment.
	left := leaked()
	for end := time.Now().Add(5 * time.Second); left != "" && time.Now().Before(end); left = leaked() {
		time.Sleep(time.Millisecond)
	}
	if left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of the goroutines that this package started.
func leaked() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "created by") && strings.Contains(stack, "virtnet/xnet") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
