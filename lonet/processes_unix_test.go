//go:build unix

package lonet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// A stopped process keeps its names. Dials to it obey their contexts, and those that were given up never come out
// of an Accept once it goes on; one that waits does.
func TestStopped(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	α := p.member("α")
	α.do("listen", "α", "α:1")
	conn := p.dialAccepted(β, α, "α:1")

	for again := range 2 {
		α.signal(syscall.SIGSTOP)
		late := obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
			_, err := β.Dial(ctx, "α:1")
			return err
		})
		t.Logf("dials return %v after their context's end", late)
		if again == 0 {
			p.wantTaken("α")
		}
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		var ne net.Error
		if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("Read: %v, want a timeout", err)
		}
		if _, err := io.WriteString(conn, "x"); err != nil {
			t.Error(err)
		}

		// This dial waits, longer than it takes to ask whether anybody is there.
		port := make(chan string, 1)
		go func() {
			c, err := β.Dial(p.ctx, "α:1")
			if err != nil {
				port <- err.Error()
				return
			}
			defer c.Close()
			port <- c.LocalAddr().String()
		}()
		select {
		case text := <-port:
			t.Fatalf("a dial to a stopped process has returned: %s", text)
		case <-time.After(200 * time.Millisecond):
		}
		α.signal(syscall.SIGCONT)
		from := α.do("accept", "α:1", patience.Milliseconds())
		if got := <-port; got != from {
			t.Errorf("a ghost from %s came out of Accept, or the dial from %s failed", from, got)
		}
		α.send("accept", "α:1", 50)
		if from, err := α.reply(); err == nil {
			t.Errorf("a ghost from %s came out of Accept", from)
		} else if !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			t.Error(err)
		}
	}
}

// wantTaken checks that a name is that of a process which does not answer.
func (p *place) wantTaken(name string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := p.join().NewHost(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		p.Errorf("NewHost with little time: %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := p.join().NewHost(p.ctx, name); !errors.Is(err, virtnet.ErrHostDup) {
		p.Errorf("NewHost: %v, want %v", err, virtnet.ErrHostDup)
	}
}

// signal sends the child a signal, and returns once it has stopped if that is what the signal does.
func (c *child) signal(sig syscall.Signal) {
	c.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.Fatal(err)
	}
	if sig == syscall.SIGSTOP {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			c.Fatalf("waiting for the child to stop: %v", err)
		}
	}
}

// dialAccepted dials and has the child accept.
func (p *place) dialAccepted(h *virtnet.Host, c *child, addr string) net.Conn {
	p.Helper()
	c.send("accept", addr, patience.Milliseconds())
	conn := p.dial(h, addr)
	if _, err := c.reply(); err != nil {
		p.Fatal(err)
	}
	return conn
}
