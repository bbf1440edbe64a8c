package lonet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// wantNoGhost checks that what comes out of Accept first is a dial that is made now.
func (p *place) wantNoGhost(l xnet.Listener, from *virtnet.Host) {
	p.Helper()
	dialled := make(chan string, 1)
	go func() {
		c, err := from.Dial(p.ctx, l.Addr().String())
		if err != nil {
			dialled <- err.Error()
			return
		}
		defer c.Close()
		dialled <- c.LocalAddr().String()
	}()
	c := p.accept(l)
	if got := <-dialled; c.RemoteAddr().String() != got {
		p.Errorf("a ghost, %v, came out of Accept before %s", c.RemoteAddr(), got)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Millisecond)
	defer cancel()
	if c, err := l.Accept(ctx); err == nil {
		p.Errorf("a ghost, %v, came out of Accept", c.RemoteAddr())
		c.Close()
	}
}

// Dials that were given up while nobody was in Accept leave nothing, and never come out of Accept.
func TestGivenUp(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	p.wantNoGhost(l, β)
	// The Accept that has just ended led; the goroutine of the engine that does when none waits may not be there yet.
	goroutines, open := runtime.NumGoroutine()+1, descriptors()
	var dials sync.WaitGroup
	for range 20 {
		dials.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, 10*time.Millisecond)
			defer cancel()
			if c, err := β.Dial(ctx, "α:1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial: %v, %v", c, err)
			}
		})
	}
	dials.Wait()
	eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors() <= open
	})
	p.wantNoGhost(l, β)
}

// The same when they give up before they could be noticed at all, and in other ways.
func TestGivenUpAtOnce(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	for i := range 100 {
		ctx, cancel := context.WithTimeout(p.ctx, time.Duration(i)*20*time.Microsecond)
		if c, err := β.Dial(ctx, "α:1"); err == nil {
			t.Errorf("dial: %v", c.RemoteAddr())
		}
		cancel()
	}
	p.wantNoGhost(l, β)
}

// Dials of programs that are not ours are given up by closing, with a reset or without.
func TestGivenUpByStrangers(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	osladdr := p.osladdr("α")
	open := descriptors()
	for _, giveUp := range []func(c *net.TCPConn){
		func(c *net.TCPConn) { c.Close() },
		func(c *net.TCPConn) { c.CloseWrite() },
		func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
			c := p.raw(osladdr)
			io.WriteString(c, `> lonet "lonett" dial "γ:1" "α:1"`+"\n")
			<-time.After(wait) // so that it is noticed before its Accept, or may not be
			giveUp(c)
			eventually(t, "it is noticed", func() bool { return descriptors() <= open+1 })
			c.Close()
		}
	}
	p.wantNoGhost(l, β)
}

// A dialler that sends payload and then resets the connection has given up; one that ends its side has not.
func TestGivenUpWithPayload(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	osladdr := p.osladdr("α")
	request := `> lonet "lonett" dial "γ:1" "α:1"` + "\n"
	for _, behind := range []string{"payload", strings.Repeat("payload", 1000)} {
		c := p.raw(osladdr)
		io.WriteString(c, request+behind)
		<-time.After(20 * time.Millisecond) // so that the request is read before the reset discards it
		c.SetLinger(0)
		c.Close()
		p.wantNoGhost(l, β)
	}
}

// A dial whose context has ended never succeeds, though an Accept waits.
func TestDialCancelled(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	p.echo(p.listen(α, ":1"))
	ctx, cancel := context.WithCancel(p.ctx)
	cancel()
	for range 500 {
		if c, err := β.Dial(ctx, "α:1"); !errors.Is(err, context.Canceled) {
			t.Fatalf("dial: %v, %v", c, err)
		}
	}
}

// A dial to, or from, a host that is closed never succeeds.
func TestDialClosed(t *testing.T) {
	p := newPlace(t)
	sub := p.join()
	β := p.host("β")
	for i := range 50 {
		α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, fmt.Sprint("α", i)))
		l := p.listen(α, ":1")
		addr := l.Addr().String()
		p.echo(l)
		p.dial(β, addr).Close()
		α.Close()
		for range 5 {
			if c, err := β.Dial(p.ctx, addr); !errors.Is(err, virtnet.ErrNoHost) && !errors.Is(err, virtnet.ErrConnRefused) {
				t.Fatalf("dial to a closed host: %v, %v", c, err)
			}
			if c, err := α.Dial(p.ctx, "β:1"); !errors.Is(err, virtnet.ErrHostDown) {
				t.Fatalf("dial from a closed host: %v, %v", c, err)
			}
		}
	}
}
