package netem_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/virtnettest"
)

// lonetBacklog is short: the suite fills it, each dial with connections of the operating system.
const lonetBacklog = 64

// joinLonet joins n sub-networks to a lonet that has a Net.
func joinLonet(t testing.TB, em *netem.Net, n int) (subs []*virtnet.SubNetwork) {
	t.Helper()
	config := lonet.Config{TempDir: t.TempDir(), Backlog: lonetBacklog, Emulator: em}
	for range n {
		sub, err := config.Join(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Close() })
		subs = append(subs, sub)
	}
	return subs
}

// A lonet with a Net is a network, as a pipenet is: here it has a rule, so that everything is queued.
func TestConformanceLonet(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	virtnettest.TestNetwork(t, virtnettest.Network{
		New: func(t testing.TB, n int) []*virtnet.SubNetwork {
			em := netem.New(1)
			if err := em.SetAll(netem.Rules{Latency: netem.Constant(100 * time.Microsecond), Slice: 7000}); err != nil {
				t.Fatal(err)
			}
			return joinLonet(t, em, n)
		},
		Backlog: lonetBacklog,
	})
}

// A sub-network goes down with something on the way: it is lost, and the other end sees a reset, not an end.
func TestDownWithBytesOnTheWay(t *testing.T) {
	for _, closed := range []bool{false, true} { // before the sub-network?
		em := netem.New(1)
		subs := joinLonet(t, em, 2)
		var hosts []*virtnet.Host
		for i, name := range []string{"α", "β"} {
			h, err := subs[i].NewHost(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, h)
		}
		l, err := hosts[1].Listen(t.Context(), ":1")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan net.Conn, 1)
		go func() {
			d, err := l.Accept(t.Context())
			if err != nil {
				t.Error(err)
			}
			accepted <- d
		}()
		c, err := hosts[0].Dial(t.Context(), "β:1")
		if err != nil {
			t.Fatal(err)
		}
		d := <-accepted
		em.Link("α", "β").Hold()
		if _, err := io.WriteString(c, "lost"); err != nil {
			t.Fatal(err)
		}
		if closed {
			_ = c.Close()
		}
		if err := subs[0].Close(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(d); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("closed before: %v: the other end has read %q, %v, want a reset", closed, got, err)
		}
	}
}
