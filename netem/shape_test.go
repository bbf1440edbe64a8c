package netem_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
)

func TestLatency(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Latency: netem.Constant(30 * ms)})
		w.set("β", "α", netem.Rules{Latency: netem.Constant(12 * ms)})
		began := time.Now()
		c, d := w.pair("α", "β")
		w.took("dial", time.Since(began), 42*ms)
		w.write(c, "ping")
		w.took("ping", w.arrives(d, "ping"), 30*ms)
		w.write(d, "pong")
		w.took("pong", w.arrives(c, "pong"), 12*ms)
		w.write(c, "last")
		c.Close()
		w.took("last words", w.arrives(d, "last"), 30*ms)
		w.took("close after them", w.ends(d, io.EOF), 0)
		w.state("α", "β", netem.State{})
	})
}

// Segments stay in order, whatever each would take by itself.
func TestLatencyOrder(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Latency: netem.Exponential(time.Second)})
		c, d := w.pair("α", "β")
		var sent strings.Builder
		for i := range 200 {
			p := strings.Repeat(string(rune('a'+i%26)), 1+i%7)
			sent.WriteString(p)
			w.write(c, p)
			time.Sleep(10 * ms)
		}
		w.arrives(d, sent.String())
	})
}

// Half close travels behind the data, and the other direction goes on.
func TestHalfClose(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Latency: netem.Constant(20 * ms), CloseDelay: time.Second})
		c, d := w.pair("α", "β")
		w.write(c, "request")
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		w.took("request", w.arrives(d, "request"), 20*ms)
		w.took("half close", w.ends(d, io.EOF), time.Second)
		go d.Write([]byte("answer"))
		w.took("answer", w.arrives(c, "answer"), 0)
	})
}

// The window bounds what is on the way: a Write waits for room, a deadline or a close.
func TestWindow(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Latency: netem.Constant(time.Second), Window: 10})
		c, d := w.pair("α", "β")
		w.write(c, "0123456789")
		began := time.Now()
		go w.arrives(d, "0123456789abcdefg")
		if n, err := c.Write([]byte("abcde")); n != 5 || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
		w.took("Write into a full window", time.Since(began), time.Second)
		w.write(c, "fg")
		time.Sleep(time.Hour)

		w.write(c, "0123456789")
		if err := c.SetWriteDeadline(time.Now().Add(ms)); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		n, err := c.Write([]byte("abc"))
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %d, %v, want the deadline", n, err)
		}
		w.took("Write until the deadline", time.Since(began), ms)
		// What is on the way has no deadline.
		w.took("what was written before", w.arrives(d, "0123456789"), time.Second-ms)
		c.SetWriteDeadline(time.Time{})
		w.write(c, "0123456789")
		time.AfterFunc(ms, func() { c.Close() })
		if n, err := c.Write([]byte("abc")); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %d, %v, want the close", n, err)
		}
		w.arrives(d, "0123456789")
		w.ends(d, io.EOF)
	})
}

// A Read that is late, or never comes, keeps the bytes on the way, and the writer waits.
func TestBackPressure(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Slice: 10, Window: 30})
		c, d := w.pair("α", "β")
		w.write(c, strings.Repeat("x", 30))
		w.state("α", "β", netem.State{Conns: 1, Segments: 3, Bytes: 30})
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := c.Write(make([]byte, 100)); n != 0 || !isTimeout(err) {
			t.Errorf("Write: %d, %v", n, err)
		}
		w.arrives(d, strings.Repeat("x", 30))
		w.state("α", "β", netem.State{Conns: 1})
	})
}

func TestBandwidth(t *testing.T) {
	run(t, -1, func(w *world) {
		w.set("α", "β", netem.Rules{Bandwidth: 1000, Latency: netem.Constant(10 * ms), Slice: 500})
		c1, d1 := w.pair("α", "β")
		c2, d2 := w.pair("α", "β")
		w.write(c1, strings.Repeat("a", 2000))
		w.took("2,000 bytes", w.arrives(d1, strings.Repeat("a", 2000)), 2*time.Second+10*ms)

		// Two connections share the link, in the order of their Writes.
		w.write(c1, strings.Repeat("b", 1000))
		w.write(c2, strings.Repeat("c", 1000))
		w.took("the second connection's", w.arrives(d2, strings.Repeat("c", 1000)), 2*time.Second+10*ms)
		w.took("the first's, before", w.arrives(d1, strings.Repeat("b", 1000)), 0)

		// The other way is another link.
		go d1.Write(make([]byte, 5000))
		w.took("the way back", w.arrives(c1, string(make([]byte, 5000))), 0)

		// Without the limit what is on the way arrives at once.
		w.write(c1, strings.Repeat("d", 100_000))
		time.Sleep(time.Second)
		w.set("α", "β", netem.Rules{})
		w.took("what was on the way", w.arrives(d1, strings.Repeat("d", 100_000)), 0)
	})
}

// A Bandwidth set while bytes are on the way counts from then.
func TestBandwidthChanged(t *testing.T) {
	run(t, -1, func(w *world) {
		w.set("α", "β", netem.Rules{Bandwidth: 1, Slice: 1000})
		c, d := w.pair("α", "β")
		w.write(c, strings.Repeat("a", 4000))
		time.Sleep(time.Second)
		w.set("α", "β", netem.Rules{Bandwidth: 1000, Slice: 1000})
		w.took("the rest at the new rate", w.arrives(d, strings.Repeat("a", 4000)), 4*time.Second)
	})
}

// What is lost is sent again: a stall of the retransmission time, doubled for each loss, and never a byte missing.
func TestLoss(t *testing.T) {
	run(t, -1, func(w *world) {
		const rto = 100 * ms
		w.set("α", "β", netem.Rules{Loss: 0.5, Retransmit: rto})
		c, d := w.pair("α", "β")
		counts := make(map[time.Duration]int)
		const n = 2000
		for range n {
			w.write(c, "segment")
			counts[w.arrives(d, "segment")]++
		}
		stall := time.Duration(0)
		for k := range 4 {
			want := n >> (k + 1)
			if got := counts[stall]; got < want*8/10-10 || got > want*12/10+10 {
				t.Errorf("%d segments have stalled for %v, want about %d", got, stall, want)
			}
			stall += rto << k
		}
		for d := range counts {
			if d%rto != 0 || (d/rto+1)&(d/rto) != 0 {
				t.Errorf("a stall of %v", d)
			}
		}
		w.set("α", "β", netem.Rules{Loss: 1, Retransmit: ms})
		w.write(c, "even so")
		w.took("a segment that is always lost", w.arrives(d, "even so"), 1023*ms)
	})
}

func TestSlice(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{Slice: 3})
		c, d := w.pair("α", "β")
		w.write(c, "abcdefgh")
		buf := make([]byte, 100)
		for _, want := range []string{"abc", "def", "gh"} {
			if n, err := d.Read(buf); string(buf[:n]) != want || err != nil {
				t.Errorf("Read: %q, %v, want %q", buf[:n], err, want)
			}
		}
	})
}

// Rules that are taken back let what is on the way arrive at once, and then nothing is emulated any more.
func TestClear(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		l := w.em.Link("α", "β")
		w.set("α", "β", netem.Rules{Latency: netem.Constant(time.Hour)})
		w.write(c, "one")
		l.Hold()
		l.Cut()
		w.write(c, "two")
		time.AfterFunc(time.Minute, l.Clear)
		w.took("what was on the way", w.arrives(d, "onetwo"), time.Minute)
		if r := l.Rules(); r != (netem.Rules{}) {
			t.Errorf("rules after Clear: %+v", r)
		}
		// Synchronous again: a Write waits for its Read.
		synctest.Wait()
		time.AfterFunc(time.Second, func() { w.arrives(d, "three") })
		began := time.Now()
		if _, err := c.Write([]byte("three")); err != nil {
			t.Error(err)
		}
		w.took("Write without rules", time.Since(began), time.Second)
	})
}

// A deadline that was set while nothing was emulated holds for Writes that wait for room, and one that was set
// meanwhile holds afterwards.
func TestDeadlineAcrossRules(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		w.em.Link("α", "β").Hold()
		began := time.Now()
		if _, err := c.Write(make([]byte, 1<<20)); !isTimeout(err) {
			t.Errorf("Write: %v", err)
		}
		w.took("Write until the deadline set before", time.Since(began), time.Minute)
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		go io.CopyN(io.Discard, d, 256<<10)
		w.em.Link("α", "β").Release()
		synctest.Wait()
		began = time.Now()
		if _, err := c.Write(make([]byte, 1<<20)); !isTimeout(err) {
			t.Errorf("Write: %v", err)
		}
		w.took("Write until the deadline set meanwhile", time.Since(began), time.Minute)
	})
}

// A Write that waits in the carrier when rules are set is first, and what comes after it goes behind it.
func TestRulesDuringWrite(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		done := make(chan error, 1)
		go func() { _, err := c.Write([]byte("first ")); done <- err }()
		synctest.Wait()
		w.set("α", "β", netem.Rules{Latency: netem.Constant(ms)})
		w.write(c, "second")
		time.Sleep(time.Hour)
		w.arrives(d, "first second")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// SetAll is for the links that have no rules of their own, present and future.
func TestSetAll(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		w.set("α", "γ", netem.Rules{Latency: netem.Constant(7 * ms)})
		if err := w.em.SetAll(netem.Rules{Latency: netem.Constant(5 * ms)}); err != nil {
			t.Fatal(err)
		}
		w.write(c, "x")
		w.took("an old connection", w.arrives(d, "x"), 5*ms)
		c, d = w.pair("α", "γ")
		w.write(c, "x")
		w.took("a link with rules of its own", w.arrives(d, "x"), 7*ms)
		c, d = w.pair("α", "δ")
		w.write(c, "x")
		w.took("a new link", w.arrives(d, "x"), 5*ms)
		w.em.Link("α", "γ").Clear()
		if got := w.em.Link("α", "γ").Rules().Latency; got != netem.Constant(5*ms) {
			t.Errorf("a link that was cleared has latency %v", got)
		}
	})
}

// A network that is closed leaves nothing, whatever is on the way.
func TestCloseWithBytesOnTheWay(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		w.em.Link("α", "β").Hold()
		w.set("β", "α", netem.Rules{Latency: netem.Constant(time.Hour)})
		w.write(c, "never")
		w.write(d, "never")
		c.Close()
		w.state("α", "β", netem.State{Conns: 1, Segments: 2, Bytes: 5, Held: true})
		began := time.Now()
		if err := w.net.Close(); err != nil {
			t.Error(err)
		}
		w.took("Close", time.Since(began), 0)
		w.state("α", "β", netem.State{Held: true})
		w.state("β", "α", netem.State{})
	})
}

// Many small segments that wait for their slots are not looked at again and again.
func TestBandwidthOfSmallSegments(t *testing.T) {
	run(t, -1, func(w *world) {
		w.set("α", "β", netem.Rules{Bandwidth: 100_000, Slice: 1})
		c, d := w.pair("α", "β")
		p := strings.Repeat("x", 100_000)
		go io.WriteString(c, p)
		w.took("a second's bytes", w.arrives(d, p), time.Second)
	})
}

// The core looks at all connections of a host to find those of a link: once, if something is done to many links.
func TestManyLinks(t *testing.T) {
	em := netem.New(1)
	var asked []string
	em.Attach(nil, func(from string, to func(string) bool) {
		for _, host := range []string{"a", "b", "c"} {
			if to(host) {
				asked = append(asked, from+host)
			}
		}
	})
	for _, from := range []string{"a", "b"} {
		for _, to := range []string{"a", "b", "c"} {
			em.Link(from, to)
		}
	}
	for _, x := range []struct {
		name string
		do   func()
		want string
	}{
		{"one link", em.Link("a", "b").Hold, "[ab]"},
		{"a partition", func() { em.Isolate("b") }, "[ba bc]"},
		{"all, but for those that are known", func() { _ = em.SetAll(netem.Rules{Slice: 1}) }, "[aa ac bb]"},
		{"a link that has had rules all the time", func() { em.Link("c", "a").State() }, "[]"},
		{"again", em.Heal, "[]"},
	} {
		asked = nil
		x.do()
		slices.Sort(asked)
		if got := fmt.Sprint(asked); got != x.want {
			t.Errorf("%s: the core was asked for %s, want %s", x.name, got, x.want)
		}
	}
}
