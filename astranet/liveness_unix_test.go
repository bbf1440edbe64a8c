//go:build unix

package astranet_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// A process that is stopped is noticed within 3 s, one that is killed at once; and each is linked again when it is back.
func TestStopped(t *testing.T) {
	t.Parallel()
	o := start(t, "", "listen 127.0.0.1:0")
	n := newNode(t, astranet.Config{})
	if err := n.Join("tcp", o.first); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, n)
	begin := time.Now()
	if err := o.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no link", func() bool { return len(n.Routes()) == 0 })
	if d := time.Since(begin); d < time.Second || d > 3500*time.Millisecond {
		t.Errorf("noticed after %v, want 2 s to 3 s", d)
	}
	_ = o.Process.Signal(syscall.SIGCONT)
	eventually(t, "a link again", func() bool { return len(n.Routes()) == 1 })
	wantEcho(t, n)
	begin = time.Now()
	_ = o.Process.Kill()
	eventually(t, "no link", func() bool { return len(n.Routes()) == 0 })
	if d := time.Since(begin); d > time.Second {
		t.Errorf("a killed process was noticed after %v", d)
	}
}
