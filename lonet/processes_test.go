package lonet_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// These tests have several processes on one network.

// member starts a child that is on network "t" and has a host.
func (p *place) member(name string) *child {
	p.Helper()
	c := newChild(p)
	c.do("join", p.cfg.TempDir, "t")
	c.do("host", name)
	return c
}

// wantGone checks the error of a dial to a host whose process is dead.
func wantGone(t testing.TB, err error) {
	t.Helper()
	var oe *net.OpError
	if !errors.As(err, &oe) || !errors.Is(err, virtnet.ErrConnRefused) || !errors.Is(err, syscall.ECONNREFUSED) ||
		!strings.Contains(err.Error(), "is gone") {
		t.Errorf("the error is %v, want a *net.OpError with cause ErrConnRefused which says that the process is gone", err)
	}
}

// A process is killed. Its connections end, its hosts are refused, and their names are free, all of that at once.
func TestKilled(t *testing.T) {
	p := newPlace(t)
	β, γ := p.host("β"), p.host("γ")
	for _, next := range []string{"another process", "this process"} {
		α := p.member("α")
		α.do("host", "αα")
		α.do("listen", "α", "α:1")
		α.do("echo", "α:1")
		conn, idle := p.dial(β, "α:1"), p.dial(β, "α:1")
		io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"α", "αα"} {
			if _, err := p.join().NewHost(p.ctx, name); !errors.Is(err, virtnet.ErrHostDup) {
				t.Fatalf("while its owner lives, NewHost(%s): %v", name, err)
			}
		}

		α.kill()
		quickly(t, "end of a connection", func() {
			for _, c := range []net.Conn{conn, idle} {
				c.SetDeadline(time.Now().Add(patience))
				var ne net.Error
				if n, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &ne) && ne.Timeout() {
					t.Errorf("Read: %d, %v", n, err)
				}
				var err error
				for i := 0; i < 1000 && err == nil; i++ {
					_, err = c.Write(make([]byte, 1000))
				}
				if err == nil {
					t.Error("a thousand Writes succeeded")
				}
			}
		})
		quickly(t, "dials to a dead process", func() {
			_, err := β.Dial(p.ctx, "α:1") // whose address is remembered here
			wantGone(t, err)
			_, err = γ.Dial(p.ctx, "αα:1")
			wantGone(t, err)
		})
		heir := p.member("heir") // started before, since that takes its time
		quickly(t, "taking the name over", func() {
			if next == "this process" {
				h := must[*virtnet.Host](t)(p.join().NewHost(p.ctx, "α"))
				p.echo(p.listen(h, ":1"))
				return
			}
			heir.do("host", "α")
			heir.do("listen", "α", "α:1")
			heir.do("echo", "α:1")
		})
		for _, h := range []*virtnet.Host{β, γ} {
			p.dial(h, "α:1").Close()
		}
		heir.do("leave")
	}
}

// Of processes that end as they should, the names are free at once too, and nobody is there.
func TestLeft(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	for _, end := range []string{"close", "leave"} {
		α := p.member("α")
		α.do("listen", "α", "α:1")
		α.do("echo", "α:1")
		conn := p.dial(β, "α:1")
		α.do(end, "α")
		conn.SetDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: Read: %d, %v, want EOF", end, n, err)
		}
		eventually(t, "the name is withdrawn", func() bool { return p.osladdr("α") == "" })
		if _, err := β.Dial(p.ctx, "α:1"); !errors.Is(err, virtnet.ErrNoHost) {
			t.Errorf("%s: dial: %v, want %v", end, err, virtnet.ErrNoHost)
		}
	}
	p.host("α")
}

// Sixteen processes join a new network at the same moment, fifty times over. All of them join, and each makes a
// host that its neighbour can dial.
func TestJoinTogether(t *testing.T) {
	const processes, rounds = 16, 50
	p := newPlace(t)
	children := make([]*child, processes)
	for i := range children {
		children[i] = newChild(t)
	}
	together := func(what string, words func(i int) []any, want func(i int) string) {
		t.Helper()
		for i, c := range children {
			c.send(words(i)...)
		}
		for i, c := range children {
			if got, err := c.reply(); err != nil || want != nil && got != want(i) {
				t.Errorf("%s, process %d: %q, %v", what, i, got, err)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	var took []time.Duration
	for round := range rounds {
		network := fmt.Sprint("n", round)
		at := time.Now().Add(2 * time.Millisecond)
		together("join", func(int) []any { return []any{"join", p.cfg.TempDir, network, at.UnixNano()} },
			func(int) string { return "lonet" + network })
		took = append(took, time.Since(at))
		host := func(i int) string { return fmt.Sprint("h", i%processes) }
		together("host", func(i int) []any { return []any{"host", host(i)} }, nil)
		together("listen", func(i int) []any { return []any{"listen", host(i), host(i) + ":1"} }, nil)
		together("echo", func(i int) []any { return []any{"echo", host(i) + ":1"} }, nil)
		together("dial", func(i int) []any { return []any{"dial", host(i), host(i+1) + ":1"} }, nil)
		together("leave", func(i int) []any { return []any{"leave"} }, nil)
	}
	slices.Sort(took)
	t.Logf("until the last of %d had joined: median %v, worst %v", processes, took[rounds/2], took[rounds-1])
}

// Another process keeps the registry's write lock. Contexts are obeyed, what only reads goes on, and closing does
// not wait.
func TestRegistryLocked(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	p.echo(p.listen(α, ":1"))
	doomed := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "t"))
	must[*virtnet.Host](t)(doomed.NewHost(p.ctx, "δ"))
	locker := newChild(t)
	locker.do("lock", p.path("t"))

	sub := p.join() // joining only reads
	late := obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
		_, err := sub.NewHost(ctx, "γ")
		return err
	})
	t.Logf("NewHost returns %v after its context's end", late)
	hold := p.listen(α, ":2") // without an Accept
	late = obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
		_, err := β.Dial(ctx, "α:2")
		return err
	})
	t.Logf("a waiting Dial returns %v after its context's end", late)
	hold.Close()
	quickly(t, "Dial", func() { p.dial(β, "α:1").Close() })

	// Closing interrupts a NewHost that waits.
	waiting := make(chan error, 1)
	go func() {
		_, err := doomed.NewHost(p.ctx, "γ")
		waiting <- err
	}()
	quickly(t, "Host.Close", func() {
		if err := doomed.Host("δ").Close(); err != nil {
			t.Error(err)
		}
	})
	quickly(t, "SubNetwork.Close", func() {
		if err := doomed.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case err := <-waiting:
		if !errors.Is(err, virtnet.ErrNetDown) {
			t.Errorf("NewHost: %v, want %v", err, virtnet.ErrNetDown)
		}
	case <-time.After(patience):
		t.Error("NewHost waits on")
	}
	if _, err := β.Dial(p.ctx, "δ:1"); err == nil {
		t.Error("a dial to a host whose sub-network is closed succeeded")
	}

	// A NewHost that waits goes on once the lock is gone. The name that could not be withdrawn is free too.
	go func() {
		_, err := sub.NewHost(p.ctx, "γ")
		waiting <- err
	}()
	locker.do("unlock")
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	must[*virtnet.Host](t)(sub.NewHost(p.ctx, "δ"))
}

// The port of a dead process goes to a program that has nothing to do with lonet, and says nothing.
func TestPortOfStranger(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	α := p.member("α")
	osladdr := p.osladdr("α")
	α.kill()
	stranger := p.rawListen(must[*net.TCPAddr](t)(net.ResolveTCPAddr("tcp4", osladdr)).Port)
	var silent []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := stranger.Accept()
			if err != nil {
				return
			}
			silent = append(silent, c)
		}
	}()
	start := time.Now()
	_, err := β.Dial(p.ctx, "α:1")
	t.Logf("the dial took %v", time.Since(start))
	wantGone(t, err)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the dial took %v", took)
	}
	obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
		_, err := β.Dial(ctx, "α:1")
		return err
	})
	p.host("α") // the name is free
	stranger.Close()
	<-done
	for _, c := range silent {
		c.Close()
	}
}

// The port of a dead process goes to another network, or to others of the same network.
func TestPortOfOthers(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	other := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "other"))
	defer other.Close()
	must[*virtnet.Host](t)(other.NewHost(p.ctx, "α"))
	for _, test := range []struct {
		name    string
		osladdr string
		check   func(error) bool
	}{
		{"another network", p.osladdrIn("other", "α"), func(err error) bool {
			return strings.Contains(err.Error(), `protocol error: reply from network "lonetother"`)
		}},
		{"the same network", p.osladdr("β"), func(err error) bool { return errors.Is(err, virtnet.ErrNoHost) }},
	} {
		p.setRow("α", test.osladdr)
		quickly(t, "dial to "+test.name, func() {
			if _, err := β.Dial(p.ctx, "α:1"); err == nil || !test.check(err) {
				t.Errorf("%s: dial: %v", test.name, err)
			}
		})
		quickly(t, "taking the name over", func() { p.host("α").Close() })
	}
}

// Much data in both directions at once, through two processes, and the end of each.
func TestBulk(t *testing.T) {
	const size = 64 << 20
	p := newPlace(t)
	β := p.host("β")
	α := p.member("α")
	α.do("listen", "α", "α:1")
	α.do("echo", "α:1")
	c := p.dial(β, "α:1").(*virtnet.Conn)
	c.SetDeadline(time.Now().Add(time.Minute))
	sent, got := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		src := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
		if _, err := io.Copy(c, io.TeeReader(src, sent)); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	n, err := io.Copy(got, c)
	wg.Wait()
	if err != nil || n != size || string(got.Sum(nil)) != string(sent.Sum(nil)) {
		t.Errorf("%d bytes came back, %v; want %d, the same ones", n, err, size)
	}
}

// Half close, between processes: what was sent before it arrives, and the other direction stays open.
func TestHalfClose(t *testing.T) {
	p := newPlace(t)
	l := p.listen(p.host("β"), ":1")
	α := p.member("α")
	α.send("dial", "α", "β:1")
	c := p.accept(l).(*virtnet.Conn)
	if got, err := α.reply(); err != nil || got != "β:2" {
		t.Fatalf("dial: %q, %v", got, err)
	}
	io.WriteString(c, "hello")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := α.do("read"); got != "hello" { // until the end
		t.Errorf("got %q", got)
	}
	α.do("write", "world")
	c.SetDeadline(time.Now().Add(patience))
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "world" {
		t.Errorf("got %q, %v", got, err)
	}
}
