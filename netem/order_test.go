package netem_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
)

// sameEveryTime runs f, which tells what happened, in many bubbles, and wants that to be the same each time.
func sameEveryTime(t *testing.T, f func(w *world) []string) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want []string
	for i := range 40 {
		runtime.GOMAXPROCS(1 + i%2)
		var got []string
		run(t, -1, func(w *world) {
			if err := w.em.SetAll(netem.Rules{Latency: netem.Exponential(20 * ms), Loss: 0.1, Slice: 100}); err != nil {
				w.Fatal(err)
			}
			got = f(w)
		})
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Fatalf("run %d:\ngot  %q\nwant %q", i, got, want)
		}
	}
}

// What several goroutines of a host do at one instant has no order: which of their dials gets which port, and,
// if they dial the same host, which gets which of the latencies. All together they get the same.
func TestDialsAtOneInstant(t *testing.T) {
	const dials = 8
	for _, test := range []struct {
		name  string
		named bool // each dial is known by whom it dials
		dst   func(i int) string
	}{
		{"one host", false, func(int) string { return "β" }},
		{"several hosts", true, func(i int) string { return fmt.Sprint("β", i) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			sameEveryTime(t, func(w *world) []string {
				var work sync.WaitGroup
				var mu sync.Mutex
				var ports []int
				var times []string
				began := time.Now()
				for i := range dials {
					addr := w.serve(test.dst(i))
					work.Go(func() {
						c, _, err := w.dial("α", addr)
						if err != nil {
							w.Error(err)
							return
						}
						what := time.Since(began).String()
						if test.named {
							what = test.dst(i) + " " + what
						}
						mu.Lock()
						defer mu.Unlock()
						ports = append(ports, c.LocalAddr().(*virtnet.Addr).Port)
						times = append(times, what)
					})
				}
				work.Wait()
				slices.Sort(ports)
				for i, port := range ports {
					if port != i+1 {
						w.Errorf("the dials have ports %v, want the lowest %d", ports, dials)
						break
					}
				}
				slices.Sort(times)
				return times
			})
		})
	}
}

// Several Writes on one connection at one instant have no order. But what arrives when is the same, and no Write is in the middle
// of another, though each is several segments.
func TestWritesAtOneInstant(t *testing.T) {
	const writes, size = 5, 1000
	sameEveryTime(t, func(w *world) []string {
		c, d := w.pair("α", "β")
		for i := range writes {
			go c.Write([]byte(strings.Repeat(fmt.Sprint(i), size)))
		}
		var times []string
		began := time.Now()
		var last time.Duration
		var all []byte
		for len(all) < writes*size {
			buf := make([]byte, size)
			n, err := d.Read(buf)
			if err != nil {
				w.Error(err)
				break
			}
			all = append(all, buf[:n]...)
			// How many Reads there are at one instant is as it happens.
			if at := time.Since(began); at != last {
				last, times = at, append(times, "")
			}
			times[len(times)-1] = fmt.Sprint(last, " ", len(all))
		}
		seen := make(map[byte]bool)
		for p := range slices.Chunk(all, size) {
			if seen[p[0]] || strings.Trim(string(p), string(p[0])) != "" {
				w.Errorf("a Write is not whole: %.20q...", p)
			}
			seen[p[0]] = true
		}
		return times
	})
}

// Dials that a partition has kept go on at the instant at which it is healed, all of them. Each has the latencies of its own
// all the same, by when it began.
func TestDialsAfterPartition(t *testing.T) {
	sameEveryTime(t, func(w *world) []string {
		addr := w.serve("β")
		p := w.em.Isolate("β")
		took := make([]string, 8)
		var work sync.WaitGroup
		for i := range took {
			work.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				_, d, err := w.dial("α", addr)
				if err != nil {
					w.Error(err)
				}
				took[i] = d.String()
			})
		}
		time.Sleep(time.Minute)
		p.Heal()
		work.Wait()
		return took
	})
}

// A partition is healed: at one instant arrive what an end has sent, and that the other has been closed. From then on
// Writes fail, whichever of the two came first.
func TestCloseInPartition(t *testing.T) {
	sameEveryTime(t, func(w *world) []string {
		var ends []net.Conn
		for _, hosts := range [][2]string{{"α", "β"}, {"β", "α"}} {
			for range 4 {
				c, d := w.pair(hosts[0], hosts[1])
				ends = append(ends, c, d)
			}
		}
		p := w.em.Isolate("β")
		for i := 0; i < len(ends); i += 2 {
			w.write(ends[i], "hello")
			_ = ends[i+1].Close()
		}
		time.Sleep(time.Minute)
		p.Heal()
		synctest.Wait()
		time.Sleep(time.Nanosecond)
		for i := 0; i < len(ends); i += 2 {
			if n, err := io.WriteString(ends[i], "hello"); n != 0 || !errors.Is(err, syscall.EPIPE) {
				w.Errorf("connection %d: Write to an end that is known to be closed: %d, %v", i/2, n, err)
			}
		}
		return nil
	})
}
