//go:build unix

package lonet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// A process that is out of descriptors makes no new connections, and says so to who dials from it. Established
// ones go on, and it recovers.
func TestOutOfDescriptors(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	l := p.listen(β, ":1")
	p.echo(l)
	α := p.member("α")
	α.do("listen", "α", "α:1")
	α.do("echo", "α:1")
	α.do("dial", "α", "β:1")
	talk := func(c net.Conn) {
		t.Helper()
		c.SetDeadline(time.Now().Add(patience))
		defer c.SetDeadline(time.Time{})
		b := []byte("x")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	established := p.dial(β, "α:1")
	talk(established)

	α.do("limit", 40)
	osladdr := p.osladdr("α")
	for range 3 {
		var strangers []net.Conn
		for range 60 {
			strangers = append(strangers, p.raw(osladdr))
		}
		// The system connects more than the process can accept.
		ctx, cancel := context.WithTimeout(p.ctx, 100*time.Millisecond)
		start := time.Now()
		if c, err := β.Dial(ctx, "α:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v, %v", c, err)
		}
		cancel()
		t.Logf("a dial with 100 ms took %v", time.Since(start))
		α.send("dial", "α", "β:1")
		if _, err := α.reply(); err == nil || !strings.Contains(err.Error(), "too many open files") {
			t.Errorf("dial from there: %v", err)
		}
		talk(established)

		for _, c := range strangers {
			c.Close()
		}
		again := p.dial(β, "α:1")
		talk(again)
		again.Close()
		talk(established)
		α.do("dial", "α", "β:1")
		α.do("hangup")
	}
	α.do("host", "γ")
}

// What a sub-network costs, and that Close gives it back.
func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: this system does not tell a process its descriptors")
	}
	p := newPlace(t)
	before, goroutines := descriptors(), runtime.NumGoroutine()
	sub := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "t"))
	if got := descriptors() - before; got > 12 {
		t.Errorf("a sub-network has %d descriptors, at most 12 are allowed", got)
	} else {
		t.Logf("a sub-network has %d descriptors", got)
	}
	if got := runtime.NumGoroutine() - goroutines; got != 1 {
		t.Errorf("a sub-network has %d goroutines, want 1", got)
	}
	α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
	l := p.listen(α, ":1")
	open := descriptors()
	var dials sync.WaitGroup
	for range 2 {
		dials.Go(func() { must[net.Conn](t)(α.Dial(p.ctx, "α:1")) })
		p.accept(l)
	}
	dials.Wait()
	eventually(t, "two connections have two ends each", func() bool { return descriptors() == open+4 })
	eventually(t, "they have no goroutine", func() bool { return runtime.NumGoroutine() == goroutines+1 })
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if got := descriptors() - before; got != 0 {
		t.Errorf("%d descriptors are left", got)
	}
}
