package xhttp

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of xnet, this package or net/http is left when all tests are done.
func TestMain(m *testing.M) {
	code := m.Run()
	left := leaked()
	for end := time.Now().Add(5 * time.Second); left != "" && time.Now().Before(end); left = leaked() {
		time.Sleep(time.Millisecond) // what has been told to end may need a moment
	}
	if left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func leaked() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if _, by, ok := strings.Cut(stack, "created by "); ok &&
			(strings.Contains(by, "virtnet/") || strings.HasPrefix(by, "net/http")) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
