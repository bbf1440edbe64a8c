//go:build unix

package registry

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// stop stops the child and returns once all of its threads are.
func (c *child) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		c.t.Fatalf("waiting for the child to stop: %v, status %v", err, status)
	}
}

// A stopped process keeps its name, for as long as it is stopped.
func TestStopped(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	m := join(t, c, "n")
	other := newChild(t)
	other.do("open", c.TempDir, "n")
	addr := other.do("addr")
	other.do("announce", "α")
	other.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantError(t, m.announce(ctx, "α"), context.DeadlineExceeded)
	wantError(t, m.announce(t.Context(), "α"), virtnet.ErrHostDup) // after a second
	wantQuery(t, m, "α", addr)
	other.cmd.Process.Signal(syscall.SIGCONT)
	if got := other.do("query", "α"); got != addr {
		t.Errorf("after going on it has %q", got)
	}
	wantError(t, m.announce(t.Context(), "α"), virtnet.ErrHostDup)
}
