package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
)

// Close cancels the contexts of running calls, then closes the engine, then the registry.
func TestCloseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		α := f.host("α")
		var ctxs []context.Context
		entered := make(chan struct{})
		waitFor := func(ctx context.Context) error {
			ctxs = append(ctxs, ctx)
			entered <- struct{}{}
			<-ctx.Done()
			return fmt.Errorf("the engine's way to say it")
		}
		// The callers' contexts: one that can end, and one that cannot.
		mortal, cancel := context.WithCancel(t.Context())
		defer cancel()
		immortal := context.Background()

		f.query = func(ctx context.Context, hostname string) (string, error) { return "", waitFor(ctx) }
		queries := []*call[net.Conn]{
			start(func() (net.Conn, error) { return α.Dial(mortal, "β:1") }),
		}
		<-entered
		queries = append(queries, start(func() (net.Conn, error) { return α.Dial(immortal, "β:1") }))
		<-entered
		f.query = nil
		f.hosts["β"] = ""
		f.dial = func(ctx context.Context, _, _ *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
			return nil, nil, waitFor(ctx)
		}
		for _, ctx := range []context.Context{mortal, immortal} {
			queries = append(queries, start(func() (net.Conn, error) { return α.Dial(ctx, "β:1") }))
			<-entered
		}
		var hosts []*call[*virtnet.Host]
		f.newHost = func(ctx context.Context, _ string, _ virtnet.Registry) error { return waitFor(ctx) }
		for i, ctx := range []context.Context{mortal, immortal} {
			hosts = append(hosts, start(func() (*virtnet.Host, error) { return f.NewHost(ctx, fmt.Sprint(i)) }))
			<-entered
		}
		cancelled := func() error {
			for i, ctx := range ctxs {
				if ctx.Err() == nil {
					t.Errorf("call %d: its context is not done when engine and registry are closed", i)
				}
			}
			return nil
		}
		f.close, f.closeReg = cancelled, cancelled
		if len(ctxs) != 6 {
			t.Fatalf("%d calls are running, want 6", len(ctxs))
		}
		wantText(t, f.SubNetwork.Close(), "")
		f.wantEvents("close engine", "close registry")
		for i, c := range queries {
			c.fails(t, fmt.Sprintf("dial fake α:%d->β:1: network is down", i+1))
		}
		for i, c := range hosts {
			c.fails(t, fmt.Sprintf(`virtnet "fake": new host "%d": network is down`, i))
		}
	})
}

// A call of Close while another is at it waits for that one, and returns nil.
func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		α := f.host("α")
		goOn := make(chan struct{})
		f.close = func() error { <-goOn; return errors.New("sorry") }
		var calls []*call[struct{}]
		for range 10 {
			calls = append(calls, start(func() (struct{}, error) { return struct{}{}, f.SubNetwork.Close() }))
		}
		synctest.Wait()
		if _, err := α.Listen(t.Context(), ""); !errors.Is(err, virtnet.ErrNetDown) {
			t.Errorf("Listen while the engine closes: %v, want ErrNetDown", err)
		}
		for _, c := range calls {
			if c.ended() {
				t.Error("Close has returned before the engine is closed")
			}
		}
		close(goOn)
		failed := 0
		for _, c := range calls {
			if _, err := c.wait(t); err != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d of the calls of Close return the engine's error, want 1", failed)
		}
		f.wantEvents("close engine", "close registry")
	})
}

// What the core calls when a host is closed, and in which order. The host is down before any of it.
func TestHostClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		α, _ := f.listen("α")
		f.withdraw = func(context.Context, string, string) error {
			if f.Host("α") != nil {
				t.Error("the name is withdrawn before the host is gone")
			}
			return nil
		}
		wantText(t, α.Close(), "")
		synctest.Wait()
		f.wantEvents("close host α", "withdraw α data of α")
		wantText(t, α.Close(), "")
		f.wantEvents()

		again := f.host("α") // the name is free
		if again == α || f.Host("α") != again {
			t.Errorf("Host is %p, want the new host %p, not %p", f.Host("α"), again, α)
		}
		_, err := α.Listen(t.Context(), "")
		wantText(t, err, "listen fake α:2: host is down")

		// With the sub-network everything goes down at once, and nobody asks for the hosts one by one.
		wantText(t, f.SubNetwork.Close(), "")
		wantText(t, again.Close(), "")
		synctest.Wait()
		f.wantEvents("close engine", "close registry")
	})
}

// The network goes down while a host is closed: its end is that of the network.
func TestDownDuringHostClose(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	f.AutoClose()
	α := f.host("α")
	f.closeHost = func(string) { f.VNetDown(nil) }
	wantText(t, α.Close(), "")
	f.wantEvents("close host α")
	_, err := α.Listen(t.Context(), "")
	wantText(t, err, "listen "+f.Network()+" α:1: network is down")
}

// An engine and a registry that have nothing to do when a host is closed.
func TestHostCloseOptional(t *testing.T) {
	f := &fake{T: t, hosts: make(map[string]string)}
	f.SubNetwork, f.Notifier = virtnet.NewSubNetwork("fake",
		struct{ virtnet.Engine }{fakeEngine{f}}, struct{ virtnet.Registry }{fakeRegistry{f}})
	wantText(t, f.host("α").Close(), "")
	f.wantEvents()
	_, err := f.NewHost(t.Context(), "α")
	wantText(t, err, `virtnet "fake": new host "α": fake registry: announce "α": host already registered`)
	wantText(t, f.SubNetwork.Close(), "")
}

// A registry that takes its time to withdraw a name delays no Close, only the next NewHost of the name, which
// obeys its context.
func TestSlowWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		goOn := make(chan struct{})
		f.withdraw = func(ctx context.Context, _, _ string) error {
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f.host("β")
		wantText(t, f.host("α").Close(), "")

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := f.NewHost(ctx, "α")
		wantText(t, err, `virtnet "fake": new host "α": context deadline exceeded`)
		if d := time.Since(began); d != time.Hour {
			t.Errorf("it took %v, want %v", d, time.Hour)
		}
		wantText(t, f.host("γ").Close(), "") // another name

		newHost := start(func() (*virtnet.Host, error) { return f.NewHost(t.Context(), "α") })
		dup := start(func() (*virtnet.Host, error) { return f.NewHost(t.Context(), "α") })
		synctest.Wait()
		calls := []*call[*virtnet.Host]{newHost, dup}
		if newHost.ended() {
			calls = []*call[*virtnet.Host]{dup, newHost}
		}
		if calls[0].ended() {
			t.Fatal("NewHost does not wait for the name to be withdrawn")
		}
		calls[1].fails(t, `virtnet "fake": new host "α": host already registered`)
		if f.Host("α") != nil {
			t.Error("Host returns a host that is being made")
		}
		close(goOn)
		α := calls[0].succeeds(t)
		if f.Host("α") != α {
			t.Error("Host does not return the host that was made")
		}
	})
}

// A registry whose Withdraw hangs does not keep the sub-network from closing.
func TestCloseDuringWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		f.withdraw = func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		wantText(t, f.host("α").Close(), "")
		newHost := start(func() (*virtnet.Host, error) { return f.NewHost(t.Context(), "α") })
		synctest.Wait()
		wantText(t, f.SubNetwork.Close(), "")
		newHost.fails(t, `virtnet "fake": new host "α": network is down`)
	})
}

// Nor does one whose Withdraw ignores its context.
func TestCloseDuringStubbornWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		goOn := make(chan struct{})
		defer close(goOn)
		f.withdraw = func(context.Context, string, string) error { <-goOn; return nil }
		wantText(t, f.host("α").Close(), "")
		wantText(t, f.SubNetwork.Close(), "")
	})
}

// Close returns when all sockets are released, also if it is a VNetDown that releases them. A carrier may call
// VNetDown as it is closed.
func TestCloseDuringDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		slow := &slowCarrier{carrier: newCarrier(), closing: func() { f.VNetDown(errors.New("sorry too")) }, goOn: make(chan struct{})}
		f.dial = func(_ context.Context, _, dst *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
			return slow, dst, nil
		}
		if _, err := f.host("α").Dial(t.Context(), "α:1"); err != nil {
			t.Fatal(err)
		}
		down := start(func() (struct{}, error) { f.VNetDown(errors.New("sorry")); return struct{}{}, nil })
		synctest.Wait()
		closing := start(func() (struct{}, error) { return struct{}{}, f.SubNetwork.Close() })
		if closing.ended() {
			t.Error("Close has returned before VNetDown has released the sockets")
		}
		f.wantEvents()
		close(slow.goOn)
		closing.fails(t, `virtnet "fake": close: sorry`)
		down.succeeds(t)
		f.wantEvents("close engine", "close registry")
	})
}

// slowCarrier is a carrier whose Close takes until goOn is closed.
type slowCarrier struct {
	*carrier
	closing func()
	goOn    chan struct{}
}

func (c *slowCarrier) Close() error {
	c.closing()
	<-c.goOn
	return c.carrier.Close()
}

// NewHost that fails leaves nothing in the registry, whatever the engine had announced by then.
func TestNewHostFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		sorry := errors.New("sorry")
		f.newHost = func(ctx context.Context, hostname string, registry virtnet.Registry) error { return sorry }
		_, err := f.NewHost(t.Context(), "α")
		wantText(t, err, `virtnet "fake": new host "α": sorry`)
		synctest.Wait()
		f.wantEvents()

		f.newHost = func(ctx context.Context, hostname string, registry virtnet.Registry) error {
			return errors.Join(registry.Announce(ctx, hostname, "data"), sorry)
		}
		_, err = f.NewHost(t.Context(), "α")
		wantText(t, err, `virtnet "fake": new host "α": sorry`)
		synctest.Wait()
		f.wantEvents("withdraw α data")

		// The caller has given up by the time the engine succeeds: that counts, as a result does.
		f.newHost = func(ctx context.Context, hostname string, registry virtnet.Registry) error {
			return registry.Announce(ctx, hostname, "data")
		}
		ctx, cancel := context.WithCancel(t.Context())
		f.announce = func(context.Context, string, string) error { cancel(); return nil }
		α, err := f.NewHost(ctx, "α")
		if err != nil || f.Host("α") != α {
			t.Errorf("NewHost: %v, %v", α, err)
		}
		_, err = f.NewHost(ctx, "β")
		wantText(t, err, `virtnet "fake": new host "β": context canceled`)
		f.announce = nil
	})
}

// The error of NewHost is the caller's context's, if that is why the engine gave up, and says so in its words.
func TestNewHostContext(t *testing.T) {
	for _, x := range []struct {
		name   string
		engine func(ctx context.Context) error
		want   string
	}{
		{"in its own words", func(context.Context) error { return errors.New("operation was canceled") },
			`virtnet "fake": new host "α": context canceled`},
		{"of a registry", func(ctx context.Context) error {
			return &virtnet.RegistryError{Registry: "r", Op: "announce", Args: "α", Err: ctx.Err()}
		}, `virtnet "fake": new host "α": r: announce "α": context canceled`},
		{"a result", func(context.Context) error { return virtnet.ErrHostDup },
			`virtnet "fake": new host "α": host already registered`},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t, virtnet.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			f.newHost = func(call context.Context, _ string, _ virtnet.Registry) error {
				cancel()
				<-call.Done()
				return x.engine(call)
			}
			_, err := f.NewHost(ctx, "α")
			wantText(t, err, x.want)
		})
	}
}

// A name is local first: the second host of a name on one sub-network needs no registry to be refused.
func TestNewHostDup(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	f.host("α")
	f.announce = func(context.Context, string, string) error {
		t.Error("the registry is asked")
		return nil
	}
	_, err := f.NewHost(t.Context(), "α")
	wantText(t, err, `virtnet "fake": new host "α": host already registered`)
	if !errors.Is(err, virtnet.ErrHostDup) {
		t.Error("it does not match ErrHostDup")
	}
	_, err = f.NewHost(t.Context(), "a/b")
	wantText(t, err, `virtnet "fake": new host "a/b": invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`)
}

// A host that is being made is not there for Host, but incoming dials find it, and are refused.
func TestDialHostBeingMade(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	f.newHost = func(ctx context.Context, hostname string, registry virtnet.Registry) error {
		if f.Host(hostname) != nil {
			t.Error("Host returns a host that is being made")
		}
		if _, _, err := f.incoming(ctx, "α:1"); err != virtnet.ErrConnRefused {
			t.Errorf("dial of a host that is being made: %v, want ErrConnRefused", err)
		}
		return nil
	}
	f.host("α")
}

func TestAutoClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		sorry := errors.New("sorry")
		f.close = func() error { return sorry }
		α, β := f.host("α"), f.host("β")
		f.AutoClose()
		wantText(t, α.Close(), "")
		synctest.Wait()
		f.wantEvents("close host α", "withdraw α data of α")
		wantText(t, β.Close(), `virtnet "fake": close: sorry`)
		wantText(t, β.Close(), "")
		wantText(t, f.SubNetwork.Close(), "")
		_, err := f.NewHost(t.Context(), "γ")
		wantText(t, err, `virtnet "fake": new host "γ": network is down`)
	})
}

// The last host is closed while another is being made, and that fails: nobody is left to close the sub-network.
func TestAutoCloseNewHostFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		f.AutoClose()
		sorry := errors.New("sorry")
		f.close = func() error { return errors.New("sorry too") }
		f.newHost = func(context.Context, string, virtnet.Registry) error { return sorry }
		_, err := f.NewHost(t.Context(), "β")
		wantText(t, err, `virtnet "fake": new host "β": sorry`)
		f.wantEvents() // there never was a host

		f.newHost = nil
		α := f.host("α")
		goOn := make(chan struct{})
		f.newHost = func(context.Context, string, virtnet.Registry) error { <-goOn; return sorry }
		newHost := start(func() (*virtnet.Host, error) { return f.NewHost(t.Context(), "β") })
		synctest.Wait()
		wantText(t, α.Close(), "")
		synctest.Wait()
		f.wantEvents("close host α", "withdraw α data of α")
		close(goOn)
		newHost.fails(t, `virtnet "fake": new host "β": sorry`+"\n"+`virtnet "fake": close: sorry too`)
		f.wantEvents("close engine", "close registry")
		wantText(t, f.SubNetwork.Close(), "")
	})
}

// Hosts are made, looked up and closed by many goroutines, while others dial them.
func TestHostsConcurrently(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprint("h", i%4) // two goroutines want each name
		wg.Go(func() {
			for range 100 {
				h, err := f.NewHost(context.Background(), name)
				if err != nil {
					if !errors.Is(err, virtnet.ErrHostDup) {
						t.Errorf("NewHost: %v", err)
					}
					continue
				}
				if got := f.Host(name); got != h {
					t.Errorf("Host(%q) = %p, want %p", name, got, h)
				}
				_, err = h.Dial(context.Background(), "h0:1")
				if !errors.Is(err, virtnet.ErrConnRefused) && !errors.Is(err, virtnet.ErrNoHost) {
					t.Errorf("Dial: %v", err)
				}
				if err := h.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantText(t, f.SubNetwork.Close(), "")
}
