package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// mendTime bounds the time after which processes on a network must have found each other again.
const mendTime = 5*watchEvery + 5*time.Second

// eventually waits until f has no error.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(mendTime); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still %v", what, err)
		}
	}
}

// meet checks that all of these members find all hosts of each other.
func meet(ctx context.Context, hosts map[string]*member, members ...*member) error {
	for host, owner := range hosts {
		for _, m := range members {
			if got, err := m.Query(ctx, host); got != owner.osladdr {
				return fmt.Errorf("%s finds host %s at %q, %w; want %s", m.osladdr, host, got, err, owner.osladdr)
			}
		}
	}
	return nil
}

// A loss is something that happens to the files of a network that is in use.
type loss struct {
	name string
	// happen makes it happen. copy is a copy of the registry that was made a while ago, helper another process.
	happen func(t *testing.T, dir, copy string, helper *child)
	// unseen says that a process that is on the network already may not notice before it looks for itself.
	unseen bool
}

func remove(suffixes ...string) func(*testing.T, string, string, *child) {
	return func(t *testing.T, dir, _ string, _ *child) {
		for _, suffix := range suffixes {
			if err := os.Remove(registryPath(dir) + suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func removeMarks(t *testing.T, dir, _ string, _ *child) {
	marks, err := filepath.Glob(filepath.Join(dir, "*.live"))
	for _, path := range marks {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil || len(marks) == 0 {
		t.Fatalf("marks %v, %v", marks, err)
	}
}

var losses = []loss{
	{name: "nothing", happen: func(*testing.T, string, string, *child) {}},
	{name: "everything removed", happen: func(t *testing.T, dir, _ string, _ *child) {
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "network removed", happen: func(t *testing.T, dir, _ string, _ *child) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "network moved away", happen: func(t *testing.T, dir, _ string, _ *child) {
		if err := os.Rename(dir, dir+"-moved"); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "registry removed", happen: remove("")},
	{name: "registry and log removed", happen: remove("", "-wal", "-shm")},
	{name: "log removed", happen: remove("-wal")},
	{name: "index removed", happen: remove("-shm")},
	{name: "log and index removed", happen: remove("-wal", "-shm")},
	{name: "marks removed", happen: removeMarks},
	{name: "marks and registry removed", happen: func(t *testing.T, dir, copy string, helper *child) {
		removeMarks(t, dir, copy, helper)
		remove("")(t, dir, copy, helper)
	}},
	{name: "replaced by an old copy", happen: func(t *testing.T, dir, copy string, _ *child) {
		if err := os.Rename(copy, registryPath(dir)); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "overwritten by an old copy", unseen: true, happen: func(t *testing.T, dir, copy string, helper *child) {
		helper.do("copy", copy, registryPath(dir))
	}},
	{name: "header overwritten", unseen: true, happen: func(t *testing.T, dir, _ string, helper *child) {
		helper.do("scribble", registryPath(dir), 0, 100)
	}},
	{name: "all overwritten", unseen: true, happen: func(t *testing.T, dir, _ string, helper *child) {
		helper.do("scribble", registryPath(dir), 0, 20480)
	}},
	{name: "page overwritten", unseen: true, happen: func(t *testing.T, dir, _ string, helper *child) {
		helper.do("scribble", registryPath(dir), 4096, 4096)
	}},
	{name: "truncated to nothing", unseen: true, happen: func(t *testing.T, dir, _ string, _ *child) {
		if err := os.Truncate(registryPath(dir), 0); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "truncated", unseen: true, happen: func(t *testing.T, dir, _ string, _ *child) {
		if err := os.Truncate(registryPath(dir), 6000); err != nil {
			t.Fatal(err)
		}
	}},
}

// Whatever happens to the files, all who are on the network and who come to it find each other in the end, without
// anybody's doing; who asks the registry does so sooner. A name stays its process's.
func TestLosses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	for _, loss := range losses {
		t.Run(loss.name, func(t *testing.T) {
			t.Parallel()
			c := Config{TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
			helper := newChild(t)
			a, b := join(t, c, "n"), join(t, c, "n")
			dir := a.dir
			backup := filepath.Join(c.TempDir, "copy")
			poke(t, a.path, "VACUUM INTO '"+backup+"'")
			poke(t, backup, "INSERT INTO hosts VALUES ('ghost', '127.0.0.1:1')")
			old, err := listen() // a program that knows only registry.db
			if err != nil {
				t.Fatal(err)
			}
			defer old.ln.Close()
			old.has(func(host string) bool { return host == "old" })
			poke(t, a.path, "INSERT INTO hosts VALUES ('old', '"+old.osladdr+"')")
			ctx := t.Context()
			if err := errors.Join(a.announce(ctx, "α"), b.announce(ctx, "β")); err != nil {
				t.Fatal(err)
			}
			// What was written is in the database file itself, so that it matters what becomes of that.
			poke(t, a.path, "PRAGMA wal_checkpoint(TRUNCATE)")
			loss.happen(t, dir, backup, helper)

			if err := a.announce(ctx, "γ"); err != nil {
				t.Errorf("announce: %v", err)
			}
			newcomer := join(t, c, "n")
			if err := newcomer.announce(ctx, "δ"); err != nil {
				t.Errorf("newcomer's announce: %v", err)
			}
			hosts := map[string]*member{"α": a, "β": b, "γ": a, "δ": newcomer}
			if !loss.unseen {
				hosts["old"] = old
				if err := meet(ctx, map[string]*member{"α": a, "γ": a, "old": old}, a, newcomer); err != nil {
					t.Errorf("at once: %v", err)
				}
			}
			eventually(t, "all find all", func() error {
				last := join(t, c, "n")
				defer last.leave()
				return meet(ctx, hosts, a, b, newcomer, last)
			})
			for host, owner := range hosts {
				if owner != newcomer {
					wantError(t, newcomer.announce(ctx, host), virtnet.ErrHostDup)
				}
			}
			eventually(t, "all have marks", func() error {
				for _, m := range []*member{a, b, newcomer} {
					if state, err := checkMark(markPath(dir, m.port)); state != Running {
						return fmt.Errorf("the mark of %s is %v, %w", m.osladdr, state, err)
					}
				}
				return nil
			})

			// It is a network as any other.
			if err := errors.Join(a.withdraw(ctx, "α"), newcomer.announce(ctx, "α")); err != nil {
				t.Error(err)
			}
			eventually(t, "all find the new one", func() error {
				return meet(ctx, map[string]*member{"α": newcomer}, a, b, newcomer)
			})
			old.has(nil)
			old.ln.Close()
			if err := errors.Join(a.leave(), b.leave(), newcomer.leave()); err != nil {
				t.Error(err)
			}
			if s := gc(t, Config{TempDir: c.TempDir, Probe: probe}, "n", now); !s.Removed {
				t.Errorf("when all have left: %+v", s)
			}
		})
	}
}

// The same happens to processes, several of which notice at the same moment.
func TestLossesProcesses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	for _, loss := range losses {
		t.Run(loss.name, func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			dir := filepath.Join(tmp, "lonet", "n")
			children := make([]*child, 3)
			addrs := make([]string, len(children))
			for i := range children {
				children[i] = newChild(t)
				addrs[i] = children[i].do("addr")
				children[i].do("open", tmp, "n")
				children[i].do("announce", fmt.Sprint("h", i))
			}
			helper := newChild(t)
			backup := filepath.Join(tmp, "copy")
			helper.do("connect", registryPath(dir))
			helper.do("exec", "VACUUM INTO '"+backup+"'")
			helper.do("exec", "PRAGMA wal_checkpoint(TRUNCATE)")
			helper.do("disconnect")
			loss.happen(t, dir, backup, helper)

			// All but one announce at one moment, the last has nothing to do.
			for i, c := range children[1:] {
				c.send("announce", fmt.Sprint("again", i))
			}
			for _, c := range children[1:] {
				if line := c.reply(); !strings.HasPrefix(line, "ok") {
					t.Errorf("announce: %s", line)
				}
			}
			eventually(t, "all find all", func() error {
				for i, addr := range addrs {
					for _, c := range children {
						if got, err := c.try("query", fmt.Sprint("h", i)); got != addr {
							return fmt.Errorf("h%d is at %q, %w; want %s", i, got, err, addr)
						}
					}
				}
				return nil
			})
			for _, c := range children {
				c.do("close")
			}
			if s := gc(t, Config{TempDir: tmp, Probe: probe}, "n", now); !s.Removed {
				t.Errorf("when all have left: %+v", s)
			}
		})
	}
}

// A name that another process has taken while the registry was lost stays that one's.
func TestLostName(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	c := Config{TempDir: t.TempDir()}
	logging := c
	logging.Log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	}), nil))
	a := join(t, logging, "n")
	ctx := t.Context()
	if err := errors.Join(a.announce(ctx, "α"), a.announce(ctx, "β")); err != nil {
		t.Fatal(err)
	}
	// a stands still while somebody removes the registry, and another process comes.
	a.mending <- struct{}{}
	os.RemoveAll(a.dir)
	b := join(t, c, "n")
	if err := b.announce(ctx, "α"); err != nil {
		t.Fatal(err)
	}
	<-a.mending

	if err := a.announce(ctx, "γ"); err != nil {
		t.Fatal(err)
	}
	if err := meet(ctx, map[string]*member{"α": b, "β": a, "γ": a}, a, b); err != nil {
		t.Error(err)
	}
	mu.Lock()
	for _, want := range []string{"the registry was lost while in use, and is there again", "network=n", "has taken the name of a host", "host=α"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
	mu.Unlock()

	// The host can be closed, which does nothing to the other, and made again when the name is free.
	if err := a.withdraw(ctx, "α"); err != nil {
		t.Error(err)
	}
	wantQuery(t, a, "α", b.osladdr)
	wantError(t, a.announce(ctx, "α"), virtnet.ErrHostDup)
	if err := b.leave(); err != nil {
		t.Error(err)
	}
	if err := a.announce(ctx, "α"); err != nil {
		t.Error(err)
	}
	wantQuery(t, a, "α", a.osladdr)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What cannot be mended is an error each time, and none any more when it can.
func TestLostForAWhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	ctx := t.Context()
	if err := errors.Join(a.announce(ctx, "α"), b.announce(ctx, "β")); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(c.Dir())
	os.WriteFile(c.Dir(), nil, 0o600)
	for range 2 {
		err := a.announce(ctx, "γ")
		want := a.path + ": announce [\"γ\" \"" + a.osladdr + "\"]: the registry was removed or replaced while in use, and cannot be opened again: " +
			c.Dir() + " is not a directory (-"
		if !errors.Is(err, errLost) || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ": remove it") {
			t.Errorf("announce: got %v, want %s…", err, want)
		}
		if a.owns("γ") {
			t.Error("a failed announcement is kept")
		}
		if _, err := a.Query(ctx, "nobody"); !errors.Is(err, errLost) {
			t.Errorf("query of a host that is not known: %v", err)
		}
		wantQuery(t, a, "β", b.osladdr) // which is known
	}
	limited, cancel := context.WithCancel(ctx)
	cancel()
	wantError(t, a.announce(limited, "γ"), context.Canceled)
	if err := a.withdraw(ctx, "α"); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	os.Remove(c.Dir())
	if err := a.announce(ctx, "γ"); err != nil {
		t.Errorf("when it can be made again: %v", err)
	}
	eventually(t, "all find all", func() error { return meet(ctx, map[string]*member{"β": b, "γ": a}, a, b, join(t, c, "n")) })
	wantQuery(t, a, "α", "")
}

// Close ends what mends, and what waits for that.
func TestCloseWhileLost(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	stuck := make(chan struct{})
	slow := c
	asked := sync.OnceFunc(func() { close(stuck) })
	slow.Probe = func(ctx context.Context, _, _ string) (Answer, error) {
		asked()
		<-ctx.Done()
		return Silent, nil
	}
	a := join(t, slow, "n")
	ctx := t.Context()
	if err := a.announce(ctx, "α"); err != nil {
		t.Fatal(err)
	}
	a.mending <- struct{}{}
	os.RemoveAll(a.dir)
	oldNetwork(t, c, "n", "INSERT INTO hosts VALUES ('α', '127.0.0.1:1')")
	<-a.mending
	done := make(chan error, 2)
	for _, host := range []string{"β", "γ"} { // one mends, and asks who has α; one waits for it
		go func() { done <- a.announce(ctx, host) }()
	}
	<-stuck
	start := time.Now()
	if err := a.leave(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > silence/2 {
		t.Errorf("close took %v", took)
	}
	wantError(t, <-done, virtnet.ErrRegistryDown)
	wantError(t, <-done, virtnet.ErrRegistryDown)
	if got := peek(t, a.path, "SELECT * FROM hosts"); got != "α|127.0.0.1:1" {
		t.Errorf("rows: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(a.dir, "*.live")); len(left) != 0 {
		t.Errorf("marks are left: %v", left)
	}
}

// A mend that runs out of time goes on where it was.
func TestMendInSteps(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	asked := make(chan string, 100)
	slow := c
	slow.Probe = func(ctx context.Context, _, host string) (Answer, error) {
		asked <- host
		if host == "α" {
			<-ctx.Done()
			return Silent, nil
		}
		return Nobody, nil
	}
	a := join(t, slow, "n")
	a.watch.Stop()
	ctx := t.Context()
	if err := a.announce(ctx, "α"); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(a.dir)
	oldNetwork(t, c, "n", "INSERT INTO hosts VALUES ('α', '127.0.0.1:1')")
	limited, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	wantError(t, a.announce(limited, "β"), context.DeadlineExceeded)
	if host := <-asked; host != "α" {
		t.Errorf("asked for %s", host)
	}
	if err := a.announce(ctx, "β"); err != nil { // asks again, for a second
		t.Error(err)
	}
	wantQuery(t, a, "α", "127.0.0.1:1")
	wantQuery(t, a, "β", a.osladdr)
}

// Hosts come and go while somebody removes the files again and again. That may be said of them, but when it is over
// all is as it should be.
func TestLossesMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	c := Config{TempDir: t.TempDir()}
	members := []*member{join(t, c, "n"), join(t, c, "n"), join(t, c, "n")}
	ctx, cancel := context.WithTimeout(t.Context(), crowdTime()/2)
	defer cancel()
	var made, failed atomic.Int64
	var wg sync.WaitGroup
	for i, m := range members {
		stays := fmt.Sprint("stays", i)
		if err := m.announce(ctx, stays); err != nil {
			t.Fatal(err)
		}
		for g := range 2 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					host := fmt.Sprintf("h%d-%d-%d", i, g, n%3)
					made.Add(1)
					if err := m.announce(t.Context(), host); err != nil {
						failed.Add(1)
						if m.owns(host) {
							t.Errorf("%s is kept that was not announced: %v", host, err)
						}
						t.Logf("announce: %v", err)
					} else if err := m.withdraw(t.Context(), host); err != nil {
						t.Logf("withdraw: %v", err)
					}
				}
			})
		}
	}
	n := 0
	for ; ctx.Err() == nil; n++ {
		os.RemoveAll(members[0].dir)
		sleep(ctx, nil, 20*time.Millisecond)
	}
	wg.Wait()
	t.Logf("the network was removed %d times, %d of %d hosts could not be announced", n, failed.Load(), made.Load())
	if failed.Load() > 5+made.Load()/10 {
		t.Error("too many")
	}
	eventually(t, "all find all", func() error {
		last := join(t, c, "n")
		defer last.leave()
		return meet(t.Context(), map[string]*member{"stays0": members[0], "stays1": members[1], "stays2": members[2]}, append(members, last)...)
	})
	// A row may be left of a host that was withdrawn while others took its row over. It is nobody's.
	newcomer := join(t, c, "n")
	for i := range members {
		for g := range 2 {
			for n := range 3 {
				if err := newcomer.announce(t.Context(), fmt.Sprintf("h%d-%d-%d", i, g, n)); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
