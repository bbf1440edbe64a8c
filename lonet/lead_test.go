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
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// stacks returns how many goroutines are in all of these functions.
func stacks(functions ...string) int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		in := true
		for _, f := range functions {
			in = in && strings.Contains(stack, f+"(")
		}
		if in {
			n++
		}
	}
	return n
}

// acceptLeads tells whether an Accept of leadingAccept accepts for its sub-network.
func acceptLeads() bool {
	return stacks("(*place).leadingAccept.func1", "lonet.(*engine).VNetLead", "lonet.(*engine).acceptOne") > 0
}

// accepted is what an Accept returned.
type accepted struct {
	net.Conn
	err error
}

// leadingAccept makes an Accept of l the leader, and returns where its result will come out. from dials to make
// that so. No other Accept may wait on the sub-network, for that would lead.
func (p *place) leadingAccept(ctx context.Context, l xnet.Listener, from *virtnet.Host) <-chan accepted {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		done := make(chan accepted, 1)
		go func() {
			c, err := l.Accept(ctx)
			done <- accepted{c, err}
		}()
		leads := false
		eventually(p, "it waits in Accept", func() bool {
			leads = acceptLeads()
			return leads || stacks("(*place).leadingAccept.func1", "virtnet.(*listener).waitAck") > 0
		})
		if leads {
			return done
		}
		p.dial(from, l.Addr().String()).Close() // the engine leads, until it has served an Accept
		p.result(done).Close()
	}
	p.Fatal("no Accept comes to lead")
	return nil
}

// goAccept starts an Accept, and returns where its result will come out.
func (p *place) goAccept(l xnet.Listener) <-chan accepted {
	done := make(chan accepted, 1)
	go func() {
		c, err := l.Accept(p.ctx)
		done <- accepted{c, err}
	}()
	return done
}

// result returns the connection of an Accept.
func (p *place) result(done <-chan accepted) net.Conn {
	p.Helper()
	select {
	case a := <-done:
		if a.err != nil {
			p.Fatal(a.err)
		}
		return a.Conn
	case <-time.After(patience):
		p.Fatal("Accept does not return")
		return nil
	}
}

// talk checks that two connections are two ends of one.
func talk(t testing.TB, c, d net.Conn) {
	t.Helper()
	for _, c := range []net.Conn{c, d} {
		c.SetDeadline(time.Now().Add(patience))
	}
	io.WriteString(c, "x")
	if _, err := io.ReadFull(d, make([]byte, 1)); err != nil || c.LocalAddr().String() != d.RemoteAddr().String() {
		t.Errorf("%v and %v have nothing to do with each other: %v", c.LocalAddr(), d.RemoteAddr(), err)
	}
}

// An Accept that leads gets its own dial, and until then serves all others.
func TestAcceptLeads(t *testing.T) {
	p := newPlace(t)
	sub, β := p.join(), p.host("β")
	l := p.listen(must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α")), ":1")
	done := p.leadingAccept(p.ctx, l, β)

	other := p.listen(must[*virtnet.Host](t)(sub.NewHost(p.ctx, "γ")), ":1")
	for range 3 {
		others := p.goAccept(other)
		c := p.dial(β, "γ:1")
		talk(t, c, p.result(others))
		p.wantRefusals(β)
		eventually(t, "it leads on", acceptLeads)
	}
	c := p.dial(β, "α:1")
	talk(t, c, p.result(done))
}

// wantRefusals checks that dials that are nobody's are answered: α is there, but has nobody at port 0 or 9, and where
// it is there is no host "nohost".
func (p *place) wantRefusals(from *virtnet.Host) {
	p.Helper()
	p.setRow("nohost", p.osladdr("α"))
	for addr, want := range map[string]error{"α:0": virtnet.ErrConnRefused, "α:9": virtnet.ErrConnRefused, "nohost:1": virtnet.ErrNoHost} {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		if _, err := from.Dial(ctx, addr); !errors.Is(err, want) {
			p.Errorf("dial %s: %v, want %v", addr, err, want)
		}
		cancel()
	}
}

// When no Accept waits, the engine answers.
func TestNobodyAccepts(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	p.wantRefusals(β)
	l := p.listen(α, ":1")
	p.wantRefusals(β)
	for range 3 { // nor after one has led
		ctx, cancel := context.WithCancel(p.ctx)
		done := p.leadingAccept(ctx, l, β)
		cancel()
		<-done
		p.wantRefusals(β)
	}
}

// An Accept that leads returns as soon as its context ends, and the next dial finds another leader.
func TestLeaderGivesUp(t *testing.T) {
	p := newPlace(t)
	sub, β := p.join(), p.host("β")
	α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
	l := p.listen(α, ":1")
	other := p.listen(α, ":2")
	for range 5 {
		ctx, cancel := context.WithCancel(p.ctx)
		done := p.leadingAccept(ctx, l, β)
		others := p.goAccept(other)
		quickly(t, "Accept", func() {
			cancel()
			if a := <-done; !errors.Is(a.err, context.Canceled) {
				t.Errorf("error %v, want %v", a.err, context.Canceled)
			}
		})
		quickly(t, "the next dial", func() { talk(t, p.dial(β, "α:2"), p.result(others)) })
	}
	obeys(t, context.DeadlineExceeded, func(ctx context.Context) error { // one of them leads
		_, err := l.Accept(ctx)
		return err
	})
}

// An Accept that leads is interrupted by whatever goes down, and all that stays up is served.
func TestLeaderInterrupted(t *testing.T) {
	for _, test := range []struct {
		name  string
		close func(l xnet.Listener, α *virtnet.Host, sub *virtnet.SubNetwork) error
		want  error
	}{
		{"listener", func(l xnet.Listener, _ *virtnet.Host, _ *virtnet.SubNetwork) error { return l.Close() }, virtnet.ErrSockDown},
		{"host", func(_ xnet.Listener, α *virtnet.Host, _ *virtnet.SubNetwork) error { return α.Close() }, virtnet.ErrHostDown},
		{"sub-network", func(_ xnet.Listener, _ *virtnet.Host, sub *virtnet.SubNetwork) error { return sub.Close() }, virtnet.ErrNetDown},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			sub, β := p.join(), p.host("β")
			α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
			l := p.listen(α, ":1")
			done := p.leadingAccept(p.ctx, l, β)
			p.answer(must[*virtnet.Host](t)(sub.NewHost(p.ctx, "γ")), "γ")
			quickly(t, "closing", func() {
				if err := test.close(l, α, sub); err != nil {
					t.Error(err)
				}
				if a := <-done; !errors.Is(a.err, test.want) {
					t.Errorf("error %v, want %v", a.err, test.want)
				}
			})
			if test.want != virtnet.ErrNetDown {
				quickly(t, "the next dial", func() { p.wantAnswer(β, "γ:1", "γ") })
			}
		})
	}
}

// Strangers who say nothing do not keep an Accept that leads from serving.
func TestLeaderAmongStrangers(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	osladdr := p.osladdr("α")
	best := time.Hour
	for range 3 {
		done := p.leadingAccept(p.ctx, l, β)
		for range 50 {
			p.raw(osladdr)
		}
		start := time.Now()
		c := p.dial(β, "α:1")
		best = min(best, time.Since(start))
		talk(t, c, p.result(done))
	}
	t.Logf("a dial right behind 50 silent strangers takes %v", best)
	if best > 50*time.Millisecond {
		t.Error("too long")
	}
}

// Servers that are slow to come back to Accept do not keep dials to others waiting, however many there are.
func TestSlowServers(t *testing.T) {
	const servers = 100
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	var serving, dialling sync.WaitGroup
	hold := make(chan struct{})
	for i := range servers {
		l := p.listen(α, fmt.Sprint(":", 1+i))
		serving.Go(func() {
			c, err := l.Accept(p.ctx)
			if err != nil {
				t.Error(err)
				return
			}
			<-hold
			c.Close()
		})
	}
	eventually(t, "all are in Accept", func() bool { return stacks("virtnet.(*listener).accept") == servers })
	quickly(t, "dialling all of them", func() {
		for i := range servers {
			dialling.Go(func() {
				c, err := β.Dial(p.ctx, fmt.Sprint("α:", 1+i))
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		dialling.Wait()
	})
	close(hold)
	serving.Wait()
}

// Many listeners and diallers at once, some of whose Accepts give up again and again: every dial is answered, by whom
// it was to.
func TestLeadersAtOnce(t *testing.T) {
	const listeners, diallers = 6, 12
	p := newPlace(t)
	sub, β := p.join(), p.host("β")
	var serving sync.WaitGroup
	for i := range listeners {
		h := must[*virtnet.Host](t)(sub.NewHost(p.ctx, fmt.Sprint("α", i)))
		l := p.listen(h, ":1")
		serving.Go(func() {
			for {
				ctx, cancel := p.ctx, context.CancelFunc(func() {})
				if i%2 == 1 {
					ctx, cancel = context.WithTimeout(p.ctx, time.Duration(i)*200*time.Microsecond)
				}
				c, err := l.Accept(ctx)
				cancel()
				switch {
				case errors.Is(err, context.DeadlineExceeded):
				case err != nil:
					if !errors.Is(err, virtnet.ErrNetDown) {
						t.Error(err)
					}
					return
				default:
					io.WriteString(c, h.Name()+" "+c.RemoteAddr().String())
					c.Close()
				}
			}
		})
	}
	var dialling sync.WaitGroup
	var dials atomic.Int32
	end := time.Now().Add(time.Second)
	for d := range diallers {
		dialling.Go(func() {
			for i := d; time.Now().Before(end); i++ {
				host := fmt.Sprint("α", i%listeners)
				ctx, cancel := context.WithTimeout(p.ctx, patience)
				c, err := β.Dial(ctx, host+":1")
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				if got, err := io.ReadAll(c); string(got) != host+" "+c.LocalAddr().String() || err != nil {
					t.Errorf("%v to %s hears %q, %v", c.LocalAddr(), host, got, err)
				}
				c.Close()
				dials.Add(1)
			}
		})
	}
	dialling.Wait()
	t.Logf("%d dials", dials.Load())
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	serving.Wait()
}
