package netem_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
)

// A dial to a host that has crashed is refused after the way there and back, and hears nothing through a partition.
func TestDialCrashed(t *testing.T) {
	run(t, 0, func(w *world) {
		addr := w.serve("β")
		w.set("α", "β", netem.Rules{Latency: netem.Constant(300 * ms)})
		w.set("β", "α", netem.Rules{Latency: netem.Constant(200 * ms)})
		if err := w.em.Crash(w.net.Host("β")); err != nil {
			w.Fatal(err)
		}
		_, took, err := w.dial("α", addr)
		if !errors.Is(err, virtnet.ErrConnRefused) {
			w.Errorf("dial: %v, want refused", err)
		}
		w.took("the dial", took, 500*ms)
		p := w.em.Isolate("β")
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		if _, err := w.net.Host("α").Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("dial through a partition: %v, want silence", err)
		}
		p.Heal()
		if _, err := w.net.Host("α").Dial(w.Context(), "γ:1"); !errors.Is(err, virtnet.ErrNoHost) {
			w.Errorf("dial to a name that never was: %v, want no host", err)
		}
	})
}

// Nobody answers for a host that has vanished, until it is there again.
func TestDialVanished(t *testing.T) {
	run(t, 0, func(w *world) {
		addr := w.serve("β")
		if err := w.em.Vanish(w.net.Host("β")); err != nil {
			w.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		if _, err := w.net.Host("α").Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("dial: %v, want silence", err)
		}
		time.AfterFunc(2*time.Second, func() { w.serve("β") })
		_, took, err := w.dial("α", addr)
		if err != nil {
			w.Error(err)
		}
		w.took("the dial", took, 3*time.Second) // the second time it asks
	})
}

func TestCrashOfNoHost(t *testing.T) {
	if err := netem.New(1).Crash(nil); err == nil {
		t.Error("a host that is nil has crashed")
	}
}

// Whoever has accepted a dial that is given up while the answer is held hears of it when that is no longer held.
func TestGivenUpInPartition(t *testing.T) {
	run(t, 0, func(w *world) {
		l, err := w.net.Host("β").Listen(w.Context(), ":1")
		if err != nil {
			w.Fatal(err)
		}
		w.em.Link("β", "α").Cut()
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		dialled := make(chan error, 1)
		go func() {
			_, err := w.net.Host("α").Dial(ctx, "β:1")
			dialled <- err
		}()
		c, err := l.Accept(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		w.em.Link("α", "β").Cut() // what α says of it does not arrive either
		if err := <-dialled; !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("dial: %v", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("Read in the partition: %v, want nothing", err)
		}
		w.em.Link("α", "β").Mend()
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			w.Errorf("Read: %v, want the end", err)
		}
	})
}

// The sizes of Reads repeat: each segment arrives at an instant of its own.
func TestSegmentsApart(t *testing.T) {
	run(t, 64<<10, func(w *world) {
		c, s := w.pair("α", "β")
		w.set("α", "β", netem.Rules{Latency: netem.Constant(ms), Slice: 3})
		go w.write(c, "hello world, here")
		for _, want := range []string{"hel", "lo ", "wor", "ld,", " he", "re"} {
			buf := make([]byte, 100)
			if n, err := s.Read(buf); err != nil || string(buf[:n]) != want {
				w.Errorf("Read: %q (%v), want %q", buf[:n], err, want)
			}
		}
	})
}

// A Window that is smaller than a segment bounds what is on the way, too.
func TestWindowOfSmallSegments(t *testing.T) {
	run(t, 64<<10, func(w *world) {
		c, s := w.pair("α", "β")
		w.set("α", "β", netem.Rules{Latency: netem.Constant(50 * ms), Window: 1000})
		go io.Copy(io.Discard, s)
		began := time.Now()
		if _, err := c.Write(make([]byte, 10_000)); err != nil {
			w.Fatal(err)
		}
		w.took("10 windows, the last of which is on the way", time.Since(began).Round(ms), 450*ms)
	})
}
