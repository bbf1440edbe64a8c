package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A crowd is who is on a network in a test: all of them must find each other, at any moment.
type crowd struct {
	guests []*guest
	door   sync.RWMutex // of who is there; who has it alone is alone with those who remove the network
}

// A guest is on the network while mu can be taken and here is set.
type guest struct {
	mu      sync.RWMutex
	here    bool
	host    string
	osladdr string
}

// meet has somebody look for a random guest who is on the network, who stays meanwhile.
func (c *crowd) meet(query func(host string) (string, error)) error {
	g := c.guests[rand.IntN(len(c.guests))]
	if !g.mu.TryRLock() {
		return nil // coming or leaving
	}
	defer g.mu.RUnlock()
	if !g.here {
		return nil
	}
	if got, err := query(g.host); got != g.osladdr {
		return fmt.Errorf("host %s is at %q, %w; it is at %s", g.host, got, err, g.osladdr)
	}
	return nil
}

// comeAndGo lets the guest join and leave until ctx ends, and look for others meanwhile. open tells whether it has
// joined.
func (c *crowd) comeAndGo(ctx context.Context, g *guest, open func() (bool, error), leave func() error, query func(string) (string, error)) error {
	visit := func() error {
		c.door.RLock()
		defer c.door.RUnlock()
		g.mu.Lock()
		in, err := open()
		g.here = in
		g.mu.Unlock()
		if !in {
			return err
		}
		for n := rand.IntN(4); n > 0 && err == nil && query != nil; n-- {
			err = c.meet(query)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.here = false
		return errors.Join(err, leave())
	}
	for ctx.Err() == nil {
		if err := visit(); err != nil {
			return err
		}
		sleep(ctx, nil, rand.N(5*time.Millisecond))
	}
	return nil
}

// goHome sees to it until ctx ends that at times nobody is there: for so short that those who come again may meet those
// who remove the network, or until it is gone.
func (c *crowd) goHome(ctx context.Context, dir string) {
	for round := 0; ctx.Err() == nil; round++ {
		c.door.Lock()
		for there := true; round%2 == 0 && there && ctx.Err() == nil; sleep(ctx, nil, time.Millisecond) {
			_, err := os.Stat(dir)
			there = err == nil
		}
		sleep(ctx, nil, rand.N(4*time.Millisecond))
		c.door.Unlock()
		sleep(ctx, nil, rand.N(40*time.Millisecond))
	}
}

// collect removes the network whenever that is possible until ctx ends, and counts how often it was.
func collect(ctx context.Context, gc func() (removed bool, _ error)) (removed int, _ error) {
	for ctx.Err() == nil {
		was, err := gc()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		if was {
			removed++
		}
		sleep(ctx, nil, rand.N(time.Millisecond))
	}
	return removed, nil
}

// crowdTime is how long crowds come and go.
func crowdTime() time.Duration {
	if os.Getenv("VIRTNET_TEST_LONG") == "1" {
		return time.Minute
	}
	return 2 * time.Second
}

// Sixteen processes join and leave a network that two others remove whenever nobody is on it. Some of the sixteen know
// only registry.db: their joining may fail, but when it does not they are on the network of the others.
func TestGCProcesses(t *testing.T) {
	for _, test := range []struct {
		name string
		old  int // how many know only registry.db
	}{{"ours", 0}, {"some that know only registry.db", 5}} {
		t.Run(test.name, func(t *testing.T) { testGCProcesses(t, test.old) })
	}
}

func testGCProcesses(t *testing.T, old int) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "lonet", "n")
	var c crowd
	children := make([]*child, processes)
	for i := range children {
		children[i] = newChild(t)
		c.guests = append(c.guests, &guest{host: fmt.Sprint("h", i), osladdr: children[i].do("addr")})
	}
	ctx, cancel := context.WithTimeout(t.Context(), crowdTime())
	defer cancel()
	var joined, refused, removed atomic.Int64
	var wg sync.WaitGroup
	for i, child := range children {
		g := c.guests[i]
		open := func() (bool, error) {
			joined.Add(1)
			_, err := child.try("open", tmp, "n")
			if err == nil {
				_, err = child.try("announce", g.host)
			}
			return err == nil, err
		}
		leave := func() error { _, err := child.try("close"); return err }
		query := func(host string) (string, error) { return child.try("query", host) }
		if i < old {
			open = func() (bool, error) {
				joined.Add(1)
				_, err := child.try("oldopen", tmp, "n", g.host)
				if err != nil {
					refused.Add(1)
				}
				return err == nil, nil
			}
			leave = func() error { _, err := child.try("oldclose"); return err }
			query = nil
		}
		wg.Go(func() {
			if err := c.comeAndGo(ctx, g, open, leave, query); err != nil {
				t.Errorf("%s: %v", g.host, err)
				cancel()
			}
		})
	}
	for range 2 {
		child := newChild(t)
		wg.Go(func() {
			n, err := collect(ctx, func() (bool, error) {
				got, err := child.try("gc", tmp, "n")
				if err != nil && strings.HasSuffix(err.Error(), syscall.ENOENT.Error()) {
					err = nil // there is no network just now
				}
				return got == "true", err
			})
			if err != nil {
				t.Error(err)
			}
			removed.Add(int64(n))
		})
	}
	wg.Go(func() { c.goHome(ctx, dir) })
	wg.Wait()
	t.Logf("%d times somebody joined, %d times in vain; %d times the network was removed", joined.Load(), refused.Load(), removed.Load())
	if removed.Load() == 0 {
		t.Error("the network was never removed")
	}
	if refused.Load() > joined.Load()/2 {
		t.Error("too often in vain")
	}
	s, err := Config{TempDir: tmp, Probe: probe}.GC(t.Context(), "n", GC{MinAge: -1})
	if err != nil && !errors.Is(err, fs.ErrNotExist) || s.Kept != "" {
		t.Errorf("when all have left: %+v, %v", s, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The same within one process, for the race detector.
func TestGCGoroutines(t *testing.T) {
	config := Config{TempDir: t.TempDir(), Probe: probe}
	var c crowd
	ctx, cancel := context.WithTimeout(t.Context(), crowdTime()/3)
	defer cancel()
	members := make([]*member, 6)
	for i := range members {
		m, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.ln.Close() })
		members[i] = m
		c.guests = append(c.guests, &guest{host: fmt.Sprint("h", i), osladdr: m.osladdr})
	}
	var wg sync.WaitGroup
	for i, m := range members {
		g := c.guests[i]
		wg.Go(func() {
			var r *Registry
			err := c.comeAndGo(ctx, g,
				func() (_ bool, err error) {
					if r, err = config.Open(t.Context(), "n", m.osladdr); err == nil {
						err = r.Announce(t.Context(), g.host, m.osladdr)
					}
					return err == nil, err
				},
				func() error { return r.Close() },
				func(host string) (string, error) { return r.Query(t.Context(), host) })
			if err != nil {
				t.Errorf("%s: %v", g.host, err)
				cancel()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			_, err := collect(ctx, func() (bool, error) {
				s, err := config.GC(t.Context(), "n", GC{MinAge: -1})
				return s.Removed, err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { c.goHome(ctx, filepath.Join(config.Dir(), "n")) })
	wg.Go(func() { // and somebody looks on
		for ctx.Err() == nil {
			if _, err := config.List(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := config.ListNetwork(t.Context(), "n"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			sleep(ctx, nil, time.Millisecond)
		}
	})
	wg.Wait()
}
