package xnet

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestUndo(t *testing.T) {
	f := newFakeListener()
	L := WithCtxL(f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	if got := BindCtxL(L, context.Background()); got != net.Listener(f) {
		t.Errorf("BindCtxL(WithCtxL(l), Background) is a %T, want l", got)
	}
	if got := BindCtxL(L, context.WithoutCancel(ctx)); got != net.Listener(f) {
		t.Errorf("BindCtxL(WithCtxL(l), without cancel) is a %T, want l", got)
	}
	bound := BindCtxL(L, ctx)
	if bound == net.Listener(f) {
		t.Error("BindCtxL(WithCtxL(l), ctx) is l, which knows nothing of ctx")
	}
	if got := WithCtxL(bound); got != L {
		t.Errorf("WithCtxL(BindCtxL(L, ctx)) is %v, want L", got)
	}
	// The plain network's closes what it registered, so its inside is not given away.
	n := NetPlain("tcp")
	defer n.Close()
	p := listen(t, n, "127.0.0.1:0")
	if got := WithCtxL(BindCtxL(p, context.Background())); got != p {
		t.Errorf("WithCtxL(BindCtxL(L, Background)) is %v, want L", got)
	}
}

// TestUndoInUse checks that BindCtxL gives back l only if that loses no connection.
func TestUndoInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, L := fakes()
		defer L.Close()
		ctx, cancel := context.WithCancel(t.Context())
		result := started(t, L, func() (net.Conn, error) { return L.Accept(ctx) }, 1)
		cancel()
		<-result

		bound := BindCtxL(L, context.Background())
		if bound == net.Listener(f) {
			t.Fatal("BindCtxL gave back a listener whose next connection is another's")
		}
		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		synctest.Wait()
		if got := BindCtxL(L, context.Background()); got == net.Listener(f) {
			t.Error("BindCtxL gave back a listener whose last connection is kept")
		}
		if got, err := bound.Accept(); got != conn || err != nil {
			t.Errorf("Accept = %v, %v, want the connection", got, err)
		}
		if got := BindCtxL(L, context.Background()); got != net.Listener(f) {
			t.Errorf("BindCtxL = %T once nothing is kept, want l", got)
		}
	})
}

// TestBoundEnds checks that a server that tries again after temporary errors does not after this one.
func TestBoundEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, L := fakes()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		bound := BindCtxL(L, ctx)
		_, err := bound.Accept()
		wantOpError(t, err, "accept", "fake", context.DeadlineExceeded)
		ne, ok := err.(interface{ Timeout() bool })
		if !ok || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		if te, ok := err.(interface{ Temporary() bool }); ok && te.Temporary() {
			t.Errorf("%v is temporary", err)
		}
		if got, want := bound.Addr().String(), "α:1"; got != want {
			t.Errorf("Addr is %q, want %q", got, want)
		}
		if err := bound.Close(); err != nil {
			t.Error(err)
		}
		_, err = L.Accept(t.Context())
		wantOpError(t, err, "accept", "fake", net.ErrClosed)
	})
}
