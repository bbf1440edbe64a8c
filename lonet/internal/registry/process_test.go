package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// These tests have several processes on one network.

const processes = 16

// openTogether makes all children open the network at one moment, and returns how long each took, sorted.
func openTogether(t *testing.T, children []*child, tmp, network string) (took []time.Duration) {
	t.Helper()
	at := time.Now().Add(2 * time.Millisecond).UnixNano()
	for _, c := range children {
		c.send("open", tmp, network, at)
	}
	for _, c := range children {
		var us int64
		if line := c.reply(); line[:2] != "ok" {
			t.Errorf("%s: %s", network, line)
		} else {
			us, _ = strconv.ParseInt(line[3:], 10, 64)
		}
		took = append(took, time.Duration(us)*time.Microsecond)
	}
	slices.Sort(took)
	return took
}

func together(t *testing.T, children []*child, words func(i int) []any) {
	t.Helper()
	for i, c := range children {
		c.send(words(i)...)
	}
	for i, c := range children {
		if line := c.reply(); line[:2] != "ok" {
			t.Errorf("%v: %s", words(i), line)
		}
	}
}

// Sixteen processes make one network at the same moment, use it and leave it together, over and over.
func TestOpenTogether(t *testing.T) {
	tmp := t.TempDir()
	children := make([]*child, processes)
	for i := range children {
		children[i] = newChild(t)
	}
	run := func(kind string, network func(round int) string) {
		var all []time.Duration
		for round := range rounds {
			all = append(all, openTogether(t, children, tmp, network(round))...)
			together(t, children, func(i int) []any { return []any{"announce", fmt.Sprint("h", i)} })
			together(t, children, func(i int) []any { return []any{"query", fmt.Sprint("h", (i+1)%processes)} })
			together(t, children, func(int) []any { return []any{"close"} })
			if t.Failed() {
				return
			}
		}
		slices.Sort(all)
		t.Logf("%s: p50 %v, p99 %v, max %v", kind, all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	}
	run("new network", func(round int) string { return fmt.Sprint("n", round) })
	run("existing network", func(int) string { return "n0" })
}

// A killed process's name is free at once, with what else it had; its mark goes too.
func TestKilled(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	m := join(t, c, "n")
	for range 5 {
		other := newChild(t)
		other.do("open", c.TempDir, "n")
		addr := other.do("addr")
		other.do("announce", "α")
		other.do("announce", "β")
		wantQuery(t, m, "α", addr)
		wantError(t, m.announce(t.Context(), "α"), virtnet.ErrHostDup)

		other.kill()
		if n, err := c.ListNetwork(t.Context(), "n"); err != nil || n.Processes != 1 || len(n.Hosts) != 2 || n.Hosts[0].State != Gone {
			t.Errorf("list: %+v, %v", n, err)
		}
		start := time.Now()
		if err := m.announce(t.Context(), "α"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > silence/2 {
			t.Errorf("taking over took %v", took)
		}
		wantQuery(t, m, "α", m.osladdr)
		wantQuery(t, m, "β", "")
		if marks, _ := filepath.Glob(filepath.Join(m.dir, "*.live")); len(marks) != 1 {
			t.Errorf("marks: %v", marks)
		}
		if err := m.withdraw(t.Context(), "α"); err != nil {
			t.Error(err)
		}
	}
}

// keepLocked makes another process hold the write lock of the registry until the test ends.
func keepLocked(t *testing.T, path string) (unlock func()) {
	t.Helper()
	other := newChild(t)
	other.do("connect", path)
	other.do("exec", "BEGIN IMMEDIATE")
	return func() { other.do("exec", "COMMIT") }
}

// Another process keeps the database locked. Contexts are obeyed, reading goes on, Close does not wait.
func TestLocked(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	m, stays := join(t, c, "n"), join(t, c, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	unlock := keepLocked(t, m.path)
	const limit = 50 * time.Millisecond
	late, others := time.Hour, time.Hour // the best of some rounds: the machine may be busy
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		start := time.Now()
		wantError(t, m.announce(ctx, "β"), context.DeadlineExceeded)
		late = min(late, time.Since(start)-limit)
		start = time.Now()
		wantQuery(t, m, "α", m.osladdr)
		joined := join(t, c, "n") // writes nothing
		if err := joined.Close(); err != nil {
			t.Error(err)
		}
		others = min(others, time.Since(start))
		cancel()
	}
	t.Logf("announce returned %v after its context's end; query, open and close took %v", late, others)
	if late > limit || others > limit {
		t.Error("too late")
	}

	// Close ends an Announce and a Withdraw that wait.
	done := make(chan error, 2)
	go func() { done <- m.announce(t.Context(), "β") }()
	for !m.owns("β") {
		time.Sleep(time.Millisecond)
	}
	go func() { done <- m.withdraw(t.Context(), "α") }()
	for m.owns("α") {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	if err := m.leave(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("close took %v", took)
	}
	wantError(t, <-done, virtnet.ErrRegistryDown)
	wantError(t, <-done, virtnet.ErrRegistryDown)

	// The row stayed, and is dead by rule.
	unlock()
	wantQuery(t, stays, "α", m.osladdr)
	if err := stays.announce(t.Context(), "α"); err != nil {
		t.Error(err)
	}
}

// The making of a network obeys its context too.
func TestOpenLocked(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	oldNetwork(t, c, "n", "DROP TABLE hosts")
	unlock := keepLocked(t, registryPath(filepath.Join(c.Dir(), "n")))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Open(ctx, "n", "127.0.0.1:1")
	wantError(t, err, context.DeadlineExceeded)
	if took := time.Since(start); took > time.Second {
		t.Errorf("open returned after %v", took)
	}
	unlock()
	join(t, c, "n")
}

// Of processes that all want one name, at one moment, one gets it.
func TestAnnounceTogether(t *testing.T) {
	tmp := t.TempDir()
	children := make([]*child, 6)
	for i := range children {
		children[i] = newChild(t)
		children[i].do("open", tmp, "n")
	}
	victim := newChild(t)
	victim.do("open", tmp, "n")
	for round := range rounds / 2 {
		victim.do("announce", fmt.Sprint("h", round))
	}
	victim.kill()
	for round := range rounds { // half of the names are a dead process's
		host := fmt.Sprint("h", round)
		for _, c := range children {
			c.send("announce", host)
		}
		winners := 0
		for _, c := range children {
			switch line := c.reply(); {
			case line == "ok ":
				winners++
			case !strings.HasSuffix(line, "host already registered"):
				t.Error(line)
			}
		}
		if winners != 1 {
			t.Errorf("%s has %d owners", host, winners)
		}
	}
}

func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		missing(t, "/proc/self/fd")
	}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	c := Config{TempDir: t.TempDir()}
	join(t, c, "first") // starts what there is once a process
	before := count()
	r, err := c.Open(t.Context(), "n", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := count() - before; got != 4 {
		t.Errorf("a registry has %d descriptors, want 4", got)
	}
	if err := errors.Join(r.Announce(t.Context(), "α", "127.0.0.1:1"), r.Close()); err != nil {
		t.Error(err)
	}
	if got := count() - before; got != 0 {
		t.Errorf("%d descriptors are left after Close", got)
	}
}
