package lonet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/netem"
)

// An Emulator shapes the connections between two sub-networks of one lonet: delays, a partition, and a reset that is a
// real one.
func TestEmulator(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	em := netem.New(1)
	cfg := lonet.Config{TempDir: t.TempDir(), Emulator: em}
	var hosts []*virtnet.Host
	for _, name := range []string{"α", "β"} {
		n, err := cfg.Join(ctx, "emulated")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		h, err := n.NewHost(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	l, err := hosts[1].Listen(ctx, ":1")
	if err != nil {
		t.Fatal(err)
	}
	const latency = 30 * time.Millisecond
	if err := em.Link("α", "β").Set(netem.Rules{Latency: netem.Constant(latency)}); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		d, err := l.Accept(ctx)
		if err != nil {
			t.Error(err)
		}
		accepted <- d
	}()
	began := time.Now()
	c, err := hosts[0].Dial(ctx, "β:1")
	if err != nil {
		t.Fatal(err)
	}
	d := <-accepted
	if took := time.Since(began); took < latency {
		t.Errorf("Dial took %v, want at least %v", took, latency)
	}

	read := func(want string, least time.Duration) {
		t.Helper()
		began := time.Now()
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(d, buf); err != nil || string(buf) != want {
			t.Fatalf("read %q, %v, want %q", buf, err, want)
		}
		if took := time.Since(began); took < least {
			t.Errorf("%q took %v, want at least %v", want, took, least)
		}
	}
	if _, err := c.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	read("late", latency-time.Millisecond)
	p := em.Isolate("β")
	time.AfterFunc(2*latency, p.Heal)
	if _, err := c.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	read("later", 2*latency-time.Millisecond)
	em.Link("α", "β").Reset()
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read after a reset: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read after a reset on the other end: %v", err)
	}
}
