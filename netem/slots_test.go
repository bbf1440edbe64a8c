package netem_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// Many connections of a link with a Bandwidth send at the same instants, some of them because something has arrived: which
// of them the link sends first does not depend on which goroutine runs first.
func TestSlotsRepeat(t *testing.T) {
	runs := 100
	if testing.Short() {
		runs = 20
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want string
	for i := range runs {
		runtime.GOMAXPROCS(1 + i%2)
		got := contend(t)
		if want == "" {
			want = got
			t.Logf("%d events, the last of which is %s", strings.Count(got, "\n"), got[strings.LastIndex(got, "\n")+1:])
		}
		if got != want {
			a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
			for j := range a {
				if j >= len(b) || a[j] != b[j] {
					t.Fatalf("run %d, event %d: %s, want %s", i, j, a[j], b[min(j, len(b)-1)])
				}
			}
		}
	}
}

// contend tells what arrives when.
func contend(t *testing.T) string {
	var mu sync.Mutex
	var events []string
	synctest.Test(t, func(t *testing.T) {
		const conns, rounds = 30, 5
		w := &world{T: t, em: netem.New(1), ctx: t.Context()}
		w.net = pipenet.Config{Emulator: w.em, Buffer: -1}.New("test")
		defer w.net.Close()
		w.set("α", "β", netem.Rules{Bandwidth: 10_000, Latency: netem.Exponential(ms), Slice: 700})
		w.set("β", "α", netem.Rules{Bandwidth: 20_000, Latency: netem.Uniform(ms, 2*ms)})
		began := time.Now()
		var work sync.WaitGroup
		receive := func(name string, c net.Conn, answer bool) {
			buf := make([]byte, 1000)
			for {
				n, err := c.Read(buf)
				mu.Lock()
				events = append(events, fmt.Sprintf("%12v %s %d %v", time.Since(began), name, n, err))
				mu.Unlock()
				if err != nil {
					return
				}
				if answer {
					_, _ = c.Write(buf[:n/2])
				}
			}
		}
		for i := range conns {
			from, to := "α", "β"
			if i%3 == 0 {
				from, to = to, from
			}
			c, d := w.pair(from, to)
			work.Go(func() { receive(fmt.Sprint(i, " accepted"), d, true) })
			work.Go(func() { receive(fmt.Sprint(i, " dialled"), c, false) })
			work.Go(func() {
				for round := range rounds {
					time.Sleep(time.Until(began.Add(time.Duration(10+round) * time.Second))) // all at once
					if _, err := c.Write(make([]byte, 100+7*i)); err != nil {
						t.Error(err)
					}
				}
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_ = d.SetReadDeadline(time.Now().Add(time.Minute))
			})
		}
		work.Go(func() { // in the middle of it the link gets faster
			time.Sleep(12 * time.Second)
			w.set("α", "β", netem.Rules{Bandwidth: 30_000, Latency: netem.Exponential(ms), Slice: 300})
		})
		work.Wait()
	})
	slices.Sort(events)
	return strings.Join(events, "\n")
}

// Of what is sent at one instant the connections that the host has dialled are first, the oldest before the others; and
// a segment takes a nanosecond at least, on the fastest of links.
func TestSlotsOrder(t *testing.T) {
	for _, bandwidth := range []int64{1000, 1 << 62} {
		run(t, -1, func(w *world) {
			accepted, far := w.pair("β", "α")
			c1, d1 := w.pair("α", "β")
			c2, d2 := w.pair("α", "β")
			w.set("α", "β", netem.Rules{Bandwidth: bandwidth})
			each := time.Second
			if bandwidth > 1000 {
				each = 1
			}
			p := strings.Repeat("x", 1000)
			w.write(far, p)
			w.write(c2, p)
			w.write(c1, p)
			w.took("the oldest", w.arrives(d1, p), each)
			w.took("the next", w.arrives(d2, p), each)
			w.took("the one that was accepted", w.arrives(accepted, p), each)
			// An end that has no data before it needs no slot.
			w.write(c1, p)
			c1.Close()
			c2.Close()
			w.took("an end", w.ends(d2, io.EOF), 0)
			w.took("data", w.arrives(d1, p), each)
			w.took("an end behind it", w.ends(d1, io.EOF), 0)
		})
	}
}

// Step lets those of one instant pass in the same order.
func TestStepOrder(t *testing.T) {
	run(t, -1, func(w *world) {
		accepted, far := w.pair("β", "α")
		c1, d1 := w.pair("α", "β")
		c2, d2 := w.pair("α", "β")
		l := w.em.Link("α", "β")
		l.Hold()
		for _, c := range []net.Conn{far, c2, c1, c2} {
			w.write(c, "x")
		}
		time.Sleep(time.Nanosecond)
		w.write(c1, "y")
		for i, x := range []struct {
			conn net.Conn
			want string
		}{{d1, "x"}, {d2, "x"}, {d2, "x"}, {accepted, "x"}, {d1, "y"}} {
			if !l.Step() {
				t.Errorf("step %d: nothing", i)
			}
			w.took("a step", w.arrives(x.conn, x.want), 0)
		}
	})
}

// Connections of two networks that share a Net have numbers of their own, though they are between the same ports of the same hosts.
func TestStepOrderOfNetworks(t *testing.T) {
	for range 20 {
		run(t, -1, func(w *world) {
			other := &world{T: t, em: w.em, ctx: w.ctx}
			other.net = pipenet.Config{Emulator: w.em, Buffer: -1}.New("other")
			defer other.net.Close()
			w.set("α", "β", netem.Rules{Latency: netem.Constant(ms)})
			var conns [2][2]net.Conn
			var dials sync.WaitGroup
			for i, x := range []*world{w, other} {
				dials.Go(func() {
					time.Sleep(time.Duration(i)) // so that they have an order
					conns[i][0], conns[i][1] = x.pair("α", "β")
				})
			}
			dials.Wait()
			l := w.em.Link("α", "β")
			l.Hold()
			for i := range slices.Backward(conns[:]) {
				w.write(conns[i][0], "x")
			}
			for _, c := range conns {
				l.Step()
				w.took("a step", w.arrives(c[1], "x"), 0)
				time.Sleep(ms)
			}
		})
	}
}
