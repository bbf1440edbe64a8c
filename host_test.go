package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
)

// Many goroutines close a host at once: one does it, and all return only when it is done.
func TestHostCloseConcurrently(t *testing.T) {
	for range 50 {
		f := newFake(t, virtnet.Config{})
		α, l := f.listen("α")
		c, d := f.connect(α, l)
		accept := accepting(l)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if err := α.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if f.Host("α") != nil {
					t.Error("Close has returned, and the host is there")
				}
			})
		}
		wg.Wait()
		accept.fails(t, "accept fake α:1: host is down")
		for _, conn := range []net.Conn{c, d} {
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, virtnet.ErrHostDown) {
				t.Errorf("Read: %v, want ErrHostDown", err)
			}
			wantText(t, conn.Close(), "")
		}
		wantText(t, l.Close(), "")
	}
}

// Listeners, dials and connections come and go, on hosts that do, too. Whatever happens, an operation has a
// result that it can have, and in the end every port is free.
func TestChurn(t *testing.T) {
	f := newFake(t, virtnet.Config{Backlog: 2})
	α, β := f.host("α"), f.host("β")
	hosts := []*virtnet.Host{α, β}
	var wg sync.WaitGroup
	for seed := range uint64(16) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range 100 {
				if err := churn(rnd, hosts); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.wantFree(α, 1)
	f.wantFree(β, 1)
}

func churn(rnd *rand.Rand, hosts []*virtnet.Host) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(500))*time.Microsecond)
	defer cancel()
	h, addr := hosts[rnd.IntN(2)], fmt.Sprintf("%s:%d", hosts[rnd.IntN(2)].Name(), 1000+rnd.IntN(3))
	if rnd.IntN(2) == 0 {
		c, err := h.Dial(ctx, addr)
		if err == nil {
			return c.Close()
		}
		return oneOf(err, virtnet.ErrConnRefused, context.DeadlineExceeded)
	}
	l, err := h.Listen(ctx, addr)
	if err != nil {
		return oneOf(err, virtnet.ErrAddrAlreadyUsed, virtnet.ErrAddrNoListen, context.DeadlineExceeded)
	}
	closed := make(chan struct{})
	if rnd.IntN(2) == 0 { // close it while an Accept waits
		go func() { defer close(closed); _ = l.Close() }()
	} else {
		close(closed)
	}
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(ctx); err == nil {
			err = c.Close()
		}
	}
	<-closed
	return errors.Join(l.Close(), oneOf(err, context.DeadlineExceeded, virtnet.ErrSockDown))
}

func oneOf(err error, causes ...error) error {
	for _, cause := range causes {
		if errors.Is(err, cause) {
			return nil
		}
	}
	return err
}

// What the engine is asked, and what becomes of what it answers.
func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		α := f.host("α")
		f.query = func(_ context.Context, hostname string) (string, error) { return "where " + hostname + " is", nil }
		f.dial = func(_ context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error) {
			if got, want := fmt.Sprintf("%v %v %s", src, dst, hostdata), "α:1 β:80 where β is"; got != want {
				t.Errorf("VNetDial(%s), want %s", got, want)
			}
			if src.Net != "fake" || dst.Net != "fake" {
				t.Errorf("networks %q, %q, want %q", src.Net, dst.Net, "fake")
			}
			return newCarrier(), &virtnet.Addr{Net: "fake", Host: "β", Port: 99}, nil
		}
		c, err := α.Dial(t.Context(), "β:80")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(c.LocalAddr(), c.RemoteAddr()), "α:1 β:99"; got != want {
			t.Errorf("addresses %s, want %s", got, want)
		}
	})
}

// An engine that does not know who accepted: then it is who was dialled.
func TestDialAcceptedByNobody(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	f.dial = func(context.Context, *virtnet.Addr, *virtnet.Addr, string) (net.Conn, *virtnet.Addr, error) {
		return newCarrier(), nil, nil
	}
	c, err := f.host("α").Dial(t.Context(), "α:80")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.RemoteAddr().String(), "α:80"; got != want {
		t.Errorf("RemoteAddr is %s, want %s", got, want)
	}
}

// An engine's own error reaches the caller, with who dialled whom.
func TestDialErrors(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α := f.host("α")
	var engine error
	f.dial = func(ctx context.Context, _, _ *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
		return nil, nil, engine
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, x := range []struct {
		name   string
		ctx    context.Context
		addr   string
		engine error
		want   string
	}{
		{"engine", t.Context(), "α:1", errors.New("out of cables"), "dial fake α:1->α:1: out of cables"},
		{"no host", t.Context(), "β:1", nil, `dial fake α:1->β:1: fake registry: query "β": no such host`},
		{"cancelled", cancelled, "α:1", nil, "dial fake α:1->α:1: context canceled"},
		{"bad address", t.Context(), "α", nil, "dial fake α:1: address α: missing port in address"},
		{"bad address, cancelled", cancelled, "α:b", nil, "dial fake α:1: address α:b: invalid port"},
	} {
		t.Run(x.name, func(t *testing.T) {
			engine = x.engine
			_, err := α.Dial(x.ctx, x.addr)
			wantText(t, err, x.want)
			f.wantFree(α, 1)
		})
	}
}

// A connection that arrives when its host is gone, or when the caller is, is closed or delivered, not lost.
func TestDialTooLate(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	var late func()
	c := newCarrier()
	f.dial = func(_ context.Context, _, dst *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
		late()
		return c, dst, nil
	}
	α := f.host("α")
	ctx, cancel := context.WithCancel(t.Context())
	late = cancel
	conn, err := α.Dial(ctx, "α:1")
	if err != nil {
		t.Fatalf("the engine has connected: %v", err)
	}
	wantText(t, conn.Close(), "")
	if !c.isClosed() {
		t.Error("Close does not close the carrier")
	}

	c = newCarrier()
	late = func() { _ = α.Close() }
	_, err = α.Dial(t.Context(), "α:1")
	wantText(t, err, "dial fake α:1->α:1: host is down")
	if !c.isClosed() {
		t.Error("the carrier is not closed")
	}
}

func TestDialContext(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α, l := f.listen("α")
	for _, network := range []string{"tcp", "", "fake"} {
		accept := accepting(l)
		if _, err := α.DialContext(t.Context(), network, "α:1"); err != nil {
			t.Errorf("network %q: %v", network, err)
			continue
		}
		accept.succeeds(t)
	}
	_, err := α.DialContext(t.Context(), "udp", "α:1")
	wantText(t, err, "dial udp α:1: unknown network udp")
	var unknown net.UnknownNetworkError
	if !errors.As(err, &unknown) {
		t.Errorf("%#v is no net.UnknownNetworkError", err)
	}
}

func TestListenErrors(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α, _ := f.listen("α")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	down := f.host("down")
	wantText(t, down.Close(), "")
	for _, x := range []struct {
		host  *virtnet.Host
		ctx   context.Context
		laddr string
		want  string
	}{
		{α, t.Context(), "α:1", "listen fake α:1: address already in use"},
		{α, t.Context(), "β:1", "listen fake β:1: cannot listen on requested address"},
		{α, t.Context(), "α", "listen fake: address α: missing port in address"},
		{α, t.Context(), ":-1", "listen fake: address :-1: invalid port"},
		{α, cancelled, ":9", "listen fake α:9: context canceled"},
		{down, cancelled, ":9", "listen fake down:9: host is down"},
		{down, t.Context(), "α:9", "listen fake α:9: host is down"},
		{down, t.Context(), ":-1", "listen fake: host is down"},
	} {
		_, err := x.host.Listen(x.ctx, x.laddr)
		wantText(t, err, x.want)
	}
}

// Every operation of a host that never was up gives the reason.
func TestDownHost(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	h := f.DownHost("α", errors.New("no paint left"))
	if h.Name() != "α" || h.Network() != "fake" || f.Host("α") != nil {
		t.Errorf("DownHost is %q on %q", h.Name(), h.Network())
	}
	_, err := h.Dial(t.Context(), "β:1")
	wantText(t, err, "dial fake α:1->β:1: no paint left")
	_, err = h.Dial(t.Context(), "β")
	wantText(t, err, "dial fake α:1: no paint left")
	_, err = h.Listen(t.Context(), "")
	wantText(t, err, "listen fake α:1: no paint left")
	_, err = h.Listen(t.Context(), "β")
	wantText(t, err, "listen fake: no paint left")
	wantText(t, h.Close(), "")
	wantText(t, f.SubNetwork.Close(), "")
	f.wantEvents("close engine", "close registry")
	_, err = h.Dial(t.Context(), "β:1")
	wantText(t, err, "dial fake α:1->β:1: no paint left")
}
