package netem_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
)

func TestHold(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		l := w.em.Link("α", "β")
		l.Hold()
		w.write(c, "held")
		c.Close()
		w.state("α", "β", netem.State{Conns: 1, Segments: 2, Bytes: 4, Held: true})
		time.AfterFunc(time.Hour, l.Release)
		w.took("what was held", w.arrives(d, "held"), time.Hour)
		w.took("its end", w.ends(d, io.EOF), 0)
	})
}

// The other direction, and other links, go on.
func TestHoldIsOneWay(t *testing.T) {
	run(t, -1, func(w *world) {
		c, d := w.pair("α", "β")
		e, f := w.pair("γ", "β")
		w.em.Link("α", "β").Hold()
		w.write(d, "back")
		w.took("the way back", w.arrives(c, "back"), 0)
		w.write(e, "other")
		w.took("another link", w.arrives(f, "other"), 0)
		w.write(c, "held")
		w.nothing(d)
	})
}

// Step lets one thing pass at a time, whatever its latency: segments of all connections, dials and ends, in the
// order in which they came.
func TestStep(t *testing.T) {
	run(t, -1, func(w *world) {
		w.set("α", "β", netem.Rules{Latency: netem.Constant(time.Hour), Slice: 2})
		c, d := w.pair("α", "β")
		e, f := w.pair("α", "β")
		addr := w.serve("β")
		l := w.em.Link("α", "β")
		l.Hold()
		w.write(c, "abcd")
		w.write(e, "ef")
		dialled := make(chan error, 1)
		go func() { _, _, err := w.dial("α", addr); dialled <- err }()
		time.Sleep(time.Hour) // a dial waits for the link once its latency is over
		synctest.Wait()
		w.write(c, "gh")
		c.Close()
		w.state("α", "β", netem.State{Conns: 2, Segments: 5, Bytes: 8, Dials: 1, Held: true})

		step := func() {
			t.Helper()
			if !l.Step() {
				t.Error("Step finds nothing")
			}
			synctest.Wait()
		}
		step()
		w.took("a step", w.arrives(d, "ab"), 0)
		w.nothing(d)
		step()
		w.took("a step", w.arrives(d, "cd"), 0)
		w.nothing(f)
		step()
		w.took("a step", w.arrives(f, "ef"), 0)
		select {
		case err := <-dialled:
			t.Errorf("dial: %v, before its turn", err)
		default:
		}
		step()
		if err := <-dialled; err != nil {
			t.Error(err)
		}
		step()
		w.took("a step", w.arrives(d, "gh"), 0)
		w.nothing(d)
		step()
		w.took("a step", w.ends(d, io.EOF), 0)
		if l.Step() {
			t.Error("Step finds something more")
		}
		w.state("α", "β", netem.State{Conns: 2, Held: true}) // the connection dialled, and e
	})
}

// A step that nobody reads counts, too.
func TestStepUnread(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		l := w.em.Link("α", "β")
		w.set("α", "β", netem.Rules{Slice: 1})
		l.Hold()
		w.write(c, "abc")
		for i, want := range []bool{true, true, true, false} {
			if got := l.Step(); got != want {
				t.Errorf("Step %d: %v, want %v", i, got, want)
			}
			synctest.Wait()
		}
		w.took("what was let pass", w.arrives(d, "abc"), 0)
	})
}
