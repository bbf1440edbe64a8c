package bridge

import (
	"context"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/virtnet/virtnet/lonet"
)

// patience is how long a test waits for what ought to happen.
const patience = 20 * time.Second

// must returns a function that returns a value, or fails the test.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// full is what both ends of a connection can do that has half close.
type full interface {
	net.Conn
	CloseWrite() error
}

// A kind makes connections of a kind.
type kind struct {
	name   string
	resets bool // it has a reset
	pair   func(t *testing.T) (near, far full)
}

var carriers = []kind{
	{"tcp", true, func(t *testing.T) (near, far full) {
		return pair(t, must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")))
	}},
	{"unix", false, func(t *testing.T) (near, far full) {
		return pair(t, must[net.Listener](t)(net.Listen("unix", filepath.Join(t.TempDir(), "s"))))
	}},
	{"lonet", true, virtual},
}

// pair returns a connection to l, which it closes, whose near end is the accepted one in half of the cases.
func pair(t *testing.T, l net.Listener) (near, far full) {
	t.Helper()
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	near = must[net.Conn](t)(net.Dial(l.Addr().Network(), l.Addr().String())).(full)
	far = (<-accepted).(full)
	return limited(t, near, far)
}

// virtual returns a connection between two hosts.
func virtual(t *testing.T) (near, far full) {
	t.Helper()
	n, err := lonet.Config{TempDir: t.TempDir()}.Join(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	α, err := n.NewHost(t.Context(), "α")
	if err != nil {
		t.Fatal(err)
	}
	l, err := α.Listen(t.Context(), ":1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept(context.Background())
		accepted <- c
	}()
	near = must[net.Conn](t)(α.Dial(t.Context(), ":1")).(full)
	far = (<-accepted).(full)
	return limited(t, near, far)
}

// limited swaps the two now and then, and sees to it that nothing lasts for ever.
func limited(t *testing.T, near, far full) (full, full) {
	if rand.N(2) == 0 {
		near, far = far, near
	}
	far.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// A joined is two connections that are joined, seen from their far ends.
type joined struct {
	t      *testing.T
	a, b   full
	cancel context.CancelCauseFunc
	result chan Result
}

func join(t *testing.T, a, b kind) *joined {
	t.Helper()
	j := &joined{t: t, result: make(chan Result, 1)}
	var nearA, nearB full
	nearA, j.a = a.pair(t)
	nearB, j.b = b.pair(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	j.cancel = cancel
	t.Cleanup(func() { cancel(nil) })
	go func() { j.result <- Join(ctx, nearA, nearB) }()
	return j
}

// ends returns the result of Join.
func (j *joined) ends() Result {
	j.t.Helper()
	select {
	case r := <-j.result:
		return r
	case <-time.After(patience):
		j.t.Fatal("Join goes on")
		return Result{}
	}
}

// combinations runs a test with each two carriers.
func combinations(t *testing.T, test func(t *testing.T, a, b kind)) {
	for _, a := range carriers {
		for _, b := range carriers {
			t.Run(a.name+" and "+b.name, func(t *testing.T) { test(t, a, b) })
		}
	}
}
