package virtnet_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/virtnet/virtnet"
)

// VNetDown interrupts everything that is blocked on the sub-network, and its error comes out of Close.
func TestVNetDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		α, lα := f.listen("α")
		β, lβ := f.listen("β")
		c, _ := f.connect(α, lβ) // whose other end neither reads nor writes
		read := start(func() (int, error) { return c.Read(make([]byte, 1)) })
		write := start(func() (int, error) { return c.Write(make([]byte, 1)) })
		accept := accepting(lα)
		dial := start(func() (net.Conn, error) { return α.Dial(t.Context(), "β:1") })
		synctest.Wait()
		query := waits(f)
		dialNobody := start(func() (net.Conn, error) { return β.Dial(t.Context(), "nobody:1") })
		<-query
		f.newHost = func(ctx context.Context, _ string, _ virtnet.Registry) error {
			<-ctx.Done()
			return ctx.Err()
		}
		newHost := start(func() (*virtnet.Host, error) { return f.NewHost(t.Context(), "γ") })
		synctest.Wait()

		cut := errors.New("the cable is cut")
		f.VNetDown(cut)
		f.VNetDown(errors.New("nobody is interested"))
		read.fails(t, "read fake α:2->β:2: network is down")
		write.fails(t, "write fake α:2->β:2: network is down")
		accept.fails(t, "accept fake α:1: network is down")
		dial.fails(t, "dial fake α:3->β:1: network is down")
		dialNobody.fails(t, "dial fake β:3->nobody:1: network is down")
		newHost.fails(t, `virtnet "fake": new host "γ": network is down`)
		f.wantEvents()
		for _, name := range []string{"α", "β", "γ"} {
			if f.Host(name) != nil {
				t.Errorf("Host(%q) is not nil", name)
			}
		}
		if err := α.Close(); err != nil {
			t.Errorf("Host.Close: %v", err)
		}

		wantText(t, f.SubNetwork.Close(), `virtnet "fake": close: the cable is cut`)
		wantText(t, f.SubNetwork.Close(), "")
		f.wantEvents("close engine", "close registry")
	})
}

// waits makes the registry's next Query wait for its context, and returns a channel that is closed once it does.
func waits(f *fake) <-chan struct{} {
	waiting := make(chan struct{})
	f.query = func(ctx context.Context, hostname string) (string, error) {
		if hostname != "nobody" {
			return "", errors.New("unexpected query")
		}
		close(waiting)
		<-ctx.Done()
		return "", ctx.Err()
	}
	return waiting
}

// Close returns what went wrong, all of it.
func TestCloseErrors(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	down, engine, registry := errors.New("down"), errors.New("engine"), errors.New("registry")
	f.close = func() error { return engine }
	f.closeReg = func() error { return registry }
	f.VNetDown(down)
	err := f.SubNetwork.Close()
	for _, want := range []error{down, engine, registry} {
		if !errors.Is(err, want) {
			t.Errorf("Close: %v, want it to tell %q", err, want)
		}
	}
	if want := `virtnet "fake": close: `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Close: %v, want it to begin with %q", err, want)
	}
	wantText(t, f.SubNetwork.Close(), "")
}
