package netem_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// TestRepeat runs a program of 5 hosts, all of which dial all others at the same instants, through latency, loss and
// partitions. The same seed gives the same events at the same times, whichever goroutine runs first.
func TestRepeat(t *testing.T) {
	runs := 100
	if testing.Short() {
		runs = 10
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	first := make(map[uint64]string)
	for i := range runs {
		runtime.GOMAXPROCS(1 + i%2)
		seed := uint64(1 + i/2%2)
		got := program(t, seed)
		want, ok := first[seed]
		if !ok {
			first[seed] = got
			continue
		}
		if got != want {
			t.Fatalf("run %d with seed %d differs:\n%s", i, seed, difference(got, want))
		}
	}
	if first[1] == first[2] {
		t.Error("two seeds give the same events")
	}
	lines := strings.Split(first[1], "\n")
	t.Logf("%d events, the last of which is: %s", len(lines), lines[len(lines)-1])
	for _, what := range []string{"answer", "deadline", "served"} {
		if !strings.Contains(first[1], what) {
			t.Errorf("the program never got as far as %q", what)
		}
	}
}

// difference returns the first lines that differ.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("event %d:\n\tgot  %s\n\twant %s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d events", len(a), len(b))
}

// event is something that happened.
type event struct {
	at       time.Duration
	src, dst string
	index    int
	what     string
}

type events struct {
	mu  sync.Mutex
	all []event
}

func (e *events) add(ev event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// String returns the events in order.
func (e *events) String() string {
	slices.SortFunc(e.all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.src, b.src), cmp.Compare(a.dst, b.dst),
			cmp.Compare(a.index, b.index), cmp.Compare(a.what, b.what))
	})
	var lines []string
	for _, ev := range e.all {
		lines = append(lines, fmt.Sprintf("%v %s %s %d %s", ev.at, ev.src, ev.dst, ev.index, ev.what))
	}
	return strings.Join(lines, "\n")
}

func program(t *testing.T, seed uint64) string {
	var log events
	synctest.Test(t, func(t *testing.T) {
		const hosts, rounds = 5, 30
		em := netem.New(seed)
		if err := em.SetAll(netem.Rules{Latency: netem.Exponential(20 * ms), Correlation: 0.3, Loss: 0.05}); err != nil {
			t.Fatal(err)
		}
		n := pipenet.Config{Emulator: em}.New("test")
		defer n.Close()
		names := make([]string, hosts)
		for i := range names {
			names[i] = fmt.Sprint("h", i)
		}
		began := time.Now()
		p := peers{ctx: t.Context(), log: &log, began: began}
		for _, name := range names {
			p.serve(t, n.Host(name))
		}
		var work sync.WaitGroup
		for _, src := range names {
			for _, dst := range names {
				work.Go(func() {
					for round := range rounds {
						time.Sleep(time.Until(began.Add(time.Duration(round) * 100 * ms))) // all at once
						p.talk(n.Host(src), dst, round)
					}
				})
			}
		}
		work.Go(func() {
			for i := range 6 {
				time.Sleep(330 * ms)
				cut := em.Isolate(names[i%hosts])
				if i%2 == 0 {
					cut = em.Bridge(names...)
				}
				time.Sleep(170*ms + 1)
				em.Heal()
				cut.Heal()
			}
		})
		work.Wait()
	})
	return log.String()
}

// peers is what the hosts do.
type peers struct {
	ctx   context.Context
	log   *events
	began time.Time
}

func (p *peers) note(src, dst string, index int, what string) {
	p.log.add(event{time.Since(p.began), src, dst, index, what})
}

// serve answers each line.
func (p *peers) serve(t *testing.T, h *virtnet.Host) {
	l, err := h.Listen(p.ctx, ":1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept(p.ctx)
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var src string
				var round int
				if _, err := fmt.Fscanf(c, "%s %d\n", &src, &round); err == nil {
					p.note(h.Name(), src, round, "served")
					_, _ = io.WriteString(c, strings.Repeat("x", 1000))
				}
			}()
		}
	}()
}

// talk is one exchange, with what came of it.
func (p *peers) talk(h *virtnet.Host, dst string, round int) {
	ctx, cancel := context.WithTimeout(p.ctx, 450*ms)
	defer cancel()
	c, err := h.Dial(ctx, dst+":1")
	if err != nil {
		p.note(h.Name(), dst, round, "dial: "+cause(err))
		return
	}
	defer c.Close()
	p.note(h.Name(), dst, round, "dialled")
	_ = c.SetDeadline(time.Now().Add(350 * ms))
	_, _ = fmt.Fprintf(c, "%s %d\n", h.Name(), round)
	answer, err := io.ReadAll(c)
	if err != nil {
		p.note(h.Name(), dst, round, "read: "+cause(err))
		return
	}
	p.note(h.Name(), dst, round, fmt.Sprintf("answer of %d bytes", len(answer)))
}

// cause is an error without the ports in it, for which the dials of a host race.
func cause(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		return oe.Err.Error()
	}
	return err.Error()
}
