package lonet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// dropped tells whether the other end has ended the connection.
func dropped(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	c.SetReadDeadline(time.Now().Add(patience))
	var ne net.Error
	return err != nil && !(errors.As(err, &ne) && ne.Timeout())
}

// awaited returns how many incoming connections have a goroutine that waits for their request.
func awaited() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "lonet.(*incoming).read(")
}

// At the limit, the one who has been silent longest is dropped.
func TestHalfOpenLimit(t *testing.T) {
	const limit = 10
	p := newPlace(t)
	p.cfg.HalfOpen = limit
	α, β := p.host("α"), p.host("β")
	p.echo(p.listen(α, ":1"))
	osladdr := p.osladdr("α")
	var silent []net.Conn
	wantDropped := func(n int) { // the first n, and no others
		t.Helper()
		for i, c := range silent {
			if i < n {
				answers(t, c)
			} else if dropped(c) {
				t.Errorf("number %d is dropped, though only %d should be", i, n)
			}
		}
	}
	for i := range 3 * limit {
		c := p.raw(osladdr)
		if i%2 == 1 { // half a line is silence too
			io.WriteString(c, "> lonet")
		}
		silent = append(silent, c)
		if i < limit {
			eventually(t, "it is waited for", func() bool { return awaited() == i+1 })
		} else {
			answers(t, silent[i-limit]) // until its end
		}
	}
	wantDropped(2 * limit)
	quickly(t, "a genuine dial", func() { p.dial(β, "α:1").Close() })
	wantDropped(2*limit + 1) // the dial took a place for the moment that it needed
}

// Who is silent until the handshake's time is over is dropped, half a line or none, and not before.
func TestHandshakeTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	p := newPlace(t)
	p.cfg.HandshakeTimeout = timeout
	p.host("α")
	start := time.Now()
	silent, half, slow := p.raw(p.osladdr("α")), p.raw(p.osladdr("α")), p.raw(p.osladdr("α"))
	io.WriteString(half, `> lonet "lonett" dial`)
	go func() { // a byte now and then is no excuse
		for {
			if _, err := slow.Write([]byte{'x'}); err != nil {
				return
			}
			<-time.After(timeout / 5)
		}
	}()
	for _, c := range []net.Conn{silent, half, slow} {
		if got := answers(t, c); got != "" {
			t.Errorf("got %q, want nothing", got)
		}
		if took := time.Since(start); took < timeout || took > timeout+5*time.Second {
			t.Errorf("dropped after %v, want %v", took, timeout)
		}
	}
}

// One who says nothing keeps nobody waiting, as often as that happens.
func TestSilentStranger(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	p.echo(p.listen(α, ":1"))
	osladdr := p.osladdr("α")
	best := time.Hour
	for range 20 {
		p.raw(osladdr)
		start := time.Now()
		p.dial(β, "α:1").Close()
		best = min(best, time.Since(start))
	}
	t.Logf("a dial right behind a silent stranger takes %v", best)
	if best > 50*time.Millisecond {
		t.Error("too long")
	}
}

// Strangers in great number, who say nothing, cost a bounded number of goroutines and descriptors, keep no genuine
// dial from getting through, and leave nothing.
func TestStrangers(t *testing.T) {
	strangers := 2000
	if os.Getenv("VIRTNET_TEST_LONG") != "" {
		strangers = 10000
	}
	const limit = 500
	p := newPlace(t)
	p.cfg.HalfOpen = limit
	α, β := p.host("α"), p.host("β")
	p.echo(p.listen(α, ":1"))
	p.dial(β, "α:1").Close()
	osladdr := p.osladdr("α")
	goroutines, open := runtime.NumGoroutine(), descriptors()
	crowd := newChild(t) // their ends of the connections are another process's
	crowd.send("strangers", osladdr, strangers)
	arrived := make(chan error, 1)
	go func() {
		_, err := crowd.reply()
		arrived <- err
	}()

	var worst time.Duration
	most, mostOpen := 0, 0
	for n, done := 0, false; !done || n < 50; n++ {
		start := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		c, err := β.Dial(ctx, "α:1")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		worst = max(worst, time.Since(start))
		most, mostOpen = max(most, runtime.NumGoroutine()), max(mostOpen, descriptors())
		select {
		case err := <-arrived:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
	}
	t.Logf("%d strangers: at most %d goroutines and %d descriptors more; worst dial %v", strangers, most-goroutines, mostOpen-open, worst)
	// Those who were dropped need a moment to go, so that at times there are more.
	if most > goroutines+limit+1000 || mostOpen > open+limit+1000 {
		t.Errorf("%d goroutines, %d descriptors more", most-goroutines, mostOpen-open)
	}
	eventually(t, "goroutines and descriptors are within bounds", func() bool {
		return runtime.NumGoroutine() <= goroutines+limit+5 && descriptors() <= open+limit+5
	})
	if worst > 5*time.Second {
		t.Errorf("the worst dial took %v", worst)
	}
	crowd.kill()
	eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines+2 && descriptors() <= open
	})
}

// Closing the sub-network drops strangers, and waits for nobody.
func TestCloseWithStrangers(t *testing.T) {
	p := newPlace(t)
	sub := p.join()
	must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
	var silent []net.Conn
	for range 50 {
		silent = append(silent, p.raw(p.osladdr("α")))
	}
	quickly(t, "Close", func() {
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range silent {
		if got := answers(t, c); got != "" && got != `< lonet "lonett" E "connection refused"`+"\n" {
			t.Errorf("got %q", got)
		}
	}
}
