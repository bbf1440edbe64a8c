//go:build unix

package lonet_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// exhausted returns a process of host α at α:1, with as many descriptors as it may have at most, and a
// connection to it that is in use, and must be fine, until the test's end.
func (p *place) exhausted(β *virtnet.Host) (α *child) {
	p.Helper()
	α = p.member("α")
	α.do("listen", "α", "α:1")
	α.do("parrot", "α:1")
	established := p.dial(β, "α:1")
	stop, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for running := true; running; {
			start := time.Now()
			if err := pingPong(established); err != nil {
				p.Errorf("the established connection: %v", err)
				break
			}
			worst = max(worst, time.Since(start))
			select {
			case <-stop:
				running = false
			case <-time.After(time.Millisecond):
			}
		}
		done <- worst
	}()
	p.Cleanup(func() {
		close(stop)
		p.Logf("the worst round trip on the established connection took %v", <-done)
	})
	α.do("limit", 60)
	return α
}

// A process that is out of descriptors makes no new connections, and says so to who dials from it. Established
// ones go on, those who dial it wait, and it recovers by itself.
func TestOutOfDescriptors(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	p.echo(p.listen(β, ":1"))
	dead := p.member("dead")
	dead.kill()
	α := p.exhausted(β)
	rest := α.do("descriptors")
	for round := range 3 {
		eventually(t, "it is at rest", func() bool { return α.do("descriptors") == rest })
		α.do("eat", 0)
		ctx, cancel := context.WithTimeout(p.ctx, 100*time.Millisecond)
		if c, err := β.Dial(ctx, "α:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v, %v", c, err)
		}
		cancel()
		α.wantError([]any{"dial", "α", "β:1"}, "dial lonett α:3->β:1: lonet: connect 127.0.0.1:", "too many open files", "[EMFILE]")
		α.wantError([]any{"tryjoin", p.cfg.TempDir, "other"}, "too many open files", "[EMFILE]")
		α.wantError([]any{"host", "dead"}, "too many open files", "[EMFILE]") // to ask whether it is needs a connection
		α.do("host", "γ")                                                     // needs no descriptor
		α.do("close", "γ")
		α.do("churn", 1000) // many writes, over which SQLite moves its log into the database
		if round == 0 {
			<-time.After(1500 * time.Millisecond) // for what goes on by the clock
		}
		dialled := make(chan error, 1)
		go func() {
			c, err := β.Dial(p.ctx, "α:1")
			if err == nil {
				err = pingPong(c)
				c.Close()
			}
			dialled <- err
		}()
		α.do("spit")
		quickly(t, "recovering", func() {
			if err := <-dialled; err != nil {
				t.Errorf("the dial that waited: %v", err)
			}
		})
		α.do("dial", "α", "β:1")
		α.do("hangup")
	}
	α.do("host", "dead")
	if got := p.sql("t", "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("the registry: %s", got)
	}
}

// A Join that gets too few descriptors says so, whichever it is that it lacks, leaves none, and spoils nothing.
func TestJoinOutOfDescriptors(t *testing.T) {
	p := newPlace(t)
	p.host("α")
	c := newChild(p)
	c.do("tryjoin", p.cfg.TempDir, "t") // a process's first sub-network takes descriptors that stay
	c.do("limit", 40)
	for _, network := range []string{"t", "other"} {
		for free, joined := 0, false; !joined; free++ {
			if free > 10 {
				t.Fatalf("with %d descriptors it does not join %s", free, network)
			}
			c.do("eat", free)
			c.send("tryjoin", p.cfg.TempDir, network)
			_, err := c.reply()
			joined = err == nil
			if !joined && !strings.Contains(err.Error(), "[EMFILE]") {
				t.Errorf("with %d descriptors: error %v, want EMFILE", free, err)
			}
			if took := c.do("eat", free); took != "0" {
				t.Errorf("with %d descriptors: afterwards there are %s more", free, took)
			}
			c.do("spit")
			c.do("tryjoin", p.cfg.TempDir, network)
		}
		if got := p.sql(network, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("the registry of %s: %s", network, got)
		}
	}
}

// Strangers cannot take a process's last descriptors: they are dropped for who dials, though there be places for more.
func TestStrangersTakeDescriptors(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	p.echo(p.listen(β, ":1"))
	α := newChild(p)
	α.do("config", 1000)
	α.do("join", p.cfg.TempDir, "t")
	α.do("host", "α")
	α.do("listen", "α", "α:1")
	α.do("echo", "α:1")
	p.dial(β, "α:1").Close()
	osladdr := p.osladdr("α")
	α.do("limit", 40)
	for range 3 {
		for range 100 {
			p.raw(osladdr)
		}
		quickly(t, "a genuine dial", func() {
			c := p.dial(β, "α:1")
			if err := pingPong(c); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	log := α.do("log")
	if n := strings.Count(log, "level="); n == 0 || n > 6 || !strings.Contains(log, "too many open files") {
		t.Errorf("the log has %d lines: %s", n, log)
	}
}

// However many strangers come, and whatever they do, they have no more descriptors of a process than it has places for
// them, and one for who is next: it never runs out of them.
func TestStrangersBound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: this system does not tell a process its descriptors")
	}
	strangers := 2000
	if long() {
		strangers = 10000
	}
	const places, genuine = 50, 2 // the last connection may still be closing
	p := newPlace(t)
	β := p.host("β")
	α := newChild(p)
	α.do("config", places)
	α.do("join", p.cfg.TempDir, "t")
	α.do("host", "α")
	α.do("listen", "α", "α:1")
	α.do("parrot", "α:1")
	rest := α.do("descriptors")
	c := p.dial(β, "α:1")
	if err := pingPong(c); err != nil {
		t.Fatal(err)
	}
	c.Close()
	eventually(t, "it is at rest", func() bool { return α.do("descriptors") == rest })
	const own = 1 // with which it counts
	α.do("limit", must[int](t)(strconv.Atoi(rest))-own+places+1+genuine)

	osladdr := p.osladdr("α")
	crowds := []*child{newChild(t), newChild(t)}
	crowds[0].send("strangers", osladdr, strangers)
	crowds[1].send("rascals", osladdr, strangers)
	for _, crowd := range crowds {
		if _, err := crowd.reply(); err != nil {
			t.Error(err)
		}
	}
	c = p.dial(β, "α:1")
	if err := pingPong(c); err != nil {
		t.Error(err)
	}
	if log := α.do("log"); log != "" {
		t.Errorf("log: %s", log)
	}
}

// ours returns how many goroutines are in code of this package.
func ours() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "virtnet/lonet.") {
			n++
		}
	}
	return n
}

// What a sub-network costs, and that Close gives it back.
func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: this system does not tell a process its descriptors")
	}
	p := newPlace(t)
	before := descriptors()
	sub := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "t"))
	if got := descriptors() - before; got > 12 {
		t.Errorf("a sub-network has %d descriptors, at most 12 are allowed", got)
	} else {
		t.Logf("a sub-network has %d descriptors", got)
	}
	defer sub.Close()
	eventually(t, "a sub-network has one goroutine", func() bool { return ours() == 1 })
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
	eventually(t, "they have no goroutine", func() bool { return ours() == 1 })
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if got := descriptors() - before; got != 0 {
		t.Errorf("%d descriptors are left", got)
	}
}
