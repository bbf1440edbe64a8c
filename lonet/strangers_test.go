package lonet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
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
	buf := make([]byte, 8<<20)
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

// dials dials addr from h again and again until done says so, at least 50 times, and returns how long each dial took,
// sorted, and how many goroutines and descriptors there were at most. Every dial must succeed.
func (p *place) dials(h *virtnet.Host, addr string, done <-chan struct{}) (took []time.Duration, goroutines, open int) {
	p.Helper()
	for running := true; running || len(took) < 50; {
		start := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		c, err := h.Dial(ctx, addr)
		cancel()
		if err != nil {
			p.Fatal(err)
		}
		took = append(took, time.Since(start))
		c.Close()
		goroutines, open = max(goroutines, runtime.NumGoroutine()), max(open, descriptors())
		select {
		case <-done:
			running = false
		default:
		}
	}
	slices.Sort(took)
	return took, goroutines, open
}

// wantBounded checks what strangers have cost.
func (p *place) wantBounded(took []time.Duration, goroutines, open, limit int) {
	p.Helper()
	const own = 20 // of the dial that is going on, and of what is just ending
	if goroutines > limit+own || open > limit+own {
		p.Errorf("at most %d goroutines and %d descriptors more, want no more than %d", goroutines, open, limit+own)
	}
	if worst := took[len(took)-1]; worst > 5*time.Second {
		p.Errorf("the worst dial took %v", worst)
	}
}

// worst describes how long dials took, sorted.
func worst(took []time.Duration) string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d dials, half of them within %v, 99%% %v, all %v",
		len(took), round(took[len(took)/2]), round(took[len(took)*99/100]), round(took[len(took)-1]))
}

// long tells whether tests may take their time.
func long() bool { return os.Getenv("VIRTNET_TEST_LONG") != "" }

// Strangers in great number, who say nothing, cost a bounded number of goroutines and descriptors, keep no genuine
// dial from getting through, and leave nothing.
func TestStrangers(t *testing.T) {
	strangers := 2000
	if long() {
		strangers = 10000
	}
	const limit = 500
	p := newPlace(t)
	p.cfg.HalfOpen = limit
	sub, β := p.join(), p.host("β")
	α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
	p.answer(α, "") // an echo has pipes beside its connections
	p.dial(β, "α:1").Close()
	osladdr := p.osladdr("α")
	goroutines, open := runtime.NumGoroutine(), descriptors()
	crowd := newChild(t) // their ends of the connections are another process's
	crowd.send("strangers", osladdr, strangers)
	arrived := make(chan struct{})
	var err error
	go func() {
		defer close(arrived)
		_, err = crowd.reply()
	}()
	took, most, mostOpen := p.dials(β, "α:1", arrived)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d strangers: at most %d goroutines and %d descriptors more; %s", strangers, most-goroutines, mostOpen-open, worst(took))
	p.wantBounded(took, most-goroutines, mostOpen-open, limit)
	eventually(t, "all places are taken, and no more", func() bool {
		n := lonet.Crowd(sub) // a dial that came last has taken a place, and left it
		return n <= limit && n >= limit-1 && awaited() == n
	})
	crowd.kill()
	eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines+2 && descriptors() <= open
	})
}

// Strangers who come without end do not keep a genuine dial from getting through, however few places there are for
// them.
func TestFlood(t *testing.T) {
	flooding, limits, crowds := 500, []int{3, 100}, []int{4}
	if long() {
		flooding, limits, crowds = 3000, []int{1, 10, 100, 1024}, []int{1, 4, 32}
	}
	for _, limit := range limits {
		for _, workers := range crowds {
			t.Run(fmt.Sprintf("places=%d/crowd=%d", limit, workers), func(t *testing.T) {
				p := newPlace(t)
				p.cfg.HalfOpen = limit
				sub, β := p.join(), p.host("β")
				α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
				p.answer(α, "") // an echo has pipes beside its connections
				p.dial(β, "α:1").Close()
				goroutines, open := runtime.NumGoroutine(), descriptors()
				crowd := newChild(t)
				crowd.send("flood", p.osladdr("α"), flooding, workers)
				over := make(chan struct{})
				var strangers string
				var err error
				go func() {
					defer close(over)
					strangers, err = crowd.reply()
				}()
				eventually(t, "they crowd in", func() bool { return lonet.Crowd(sub) >= limit-1 })
				took, most, mostOpen := p.dials(β, "α:1", over)
				crowd.kill()
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s strangers in %d ms: %s; at most %d goroutines and %d descriptors more", strangers, flooding, worst(took),
					most-goroutines, mostOpen-open)
				p.wantBounded(took, most-goroutines, mostOpen-open, limit)
			})
		}
	}
}

// flood connects to osladdr again and again, for a time, and returns how often. Each of the workers keeps its last
// 1000 connections.
func flood(osladdr string, d time.Duration, workers int) int {
	var wg sync.WaitGroup
	var n atomic.Int64
	end := time.Now().Add(d)
	for range workers {
		wg.Go(func() {
			var last [1000]net.Conn
			for i := 0; time.Now().Before(end); i++ {
				c, err := net.DialTimeout("tcp4", osladdr, patience)
				if err != nil {
					continue
				}
				n.Add(1)
				if old := last[i%len(last)]; old != nil {
					old.Close()
				}
				last[i%len(last)] = c
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// nonsense is what strangers may say. The last lines are requests, which are turned away.
var nonsense = []string{
	"\n", "\x00", "GET / HTTP/1.1\r\nHost: α\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	strings.Repeat("x", 5000), strings.Repeat("\x00\n", 500),
	"> lonet \"lonett\" dial \"β:1\"", "> lonet \"lonett\" dial \"β:1\" \"α:1\"",
	"> lonet \"lonetx\" dial \"β:1\" \"α:1\"\n", "> lonet \"lonett\" dial \"β:1\" \"nohost:1\"\npayload",
}

// rascals connects to osladdr n times, says something each time, and keeps the connections or not.
func rascals(osladdr string, n int) error {
	for i := range n {
		c, err := net.DialTimeout("tcp4", osladdr, patience)
		if err != nil {
			return err
		}
		io.WriteString(c, nonsense[i%len(nonsense)])
		switch i % 3 {
		case 0:
			c.Close()
		case 1:
			c.(*net.TCPConn).CloseWrite()
		}
	}
	return nil
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
