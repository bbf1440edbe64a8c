package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func wantMark(t *testing.T, path string, want State) {
	t.Helper()
	if got, err := checkMark(path); got != want || err != nil {
		t.Errorf("%s is %v, %v; want %v", filepath.Base(path), got, err, want)
	}
}

func TestMark(t *testing.T) {
	path := markPath(t.TempDir(), 4711)
	wantMark(t, path, Unmarked)
	if _, err := os.Stat(path); err == nil {
		t.Error("looking at a mark has made it")
	}
	m, err := takeMark(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	wantMark(t, path, Running)
	if other, state, err := lockMark(path, os.O_RDWR); other != nil || state != Running || err != nil {
		t.Errorf("locked a held mark: %v, %v, %v", other, state, err)
	}
	m.unlock()
	wantMark(t, path, Gone)
	if m, err = takeMark(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := m.remove(); err != nil {
		t.Error(err)
	}
	wantMark(t, path, Unmarked)
}

func TestMarkTaken(t *testing.T) {
	path := markPath(t.TempDir(), 1)
	m, err := takeMark(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.remove()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := takeMark(ctx, path); err != context.DeadlineExceeded {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := takeMark(t.Context(), path); !errors.Is(err, ErrMarked) {
		t.Errorf("got %v, want ErrMarked", err)
	}
	// Whoever closes gives way to the next within the time that is waited.
	release := time.AfterFunc(closeWait, func() { m.remove() })
	defer release.Stop()
	next, err := takeMark(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	next.remove()
}

// A mark that somebody removed under its owner, as cleaners of temporary directories do, may have become another's.
func TestMarkNotOurs(t *testing.T) {
	path := markPath(t.TempDir(), 1)
	m, err := takeMark(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	next, err := takeMark(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.remove(); err != nil {
		t.Error(err)
	}
	wantMark(t, path, Running)
	next.remove()
}

// Owners come and go while others look at the mark and collect it. A held mark never looks free, and no
// owner fails.
func TestMarkRaces(t *testing.T) {
	path := markPath(t.TempDir(), 1)
	var owners atomic.Int64 // odd while the mark is held
	// Others leave the owner gaps of up to 0.2 ms, or it could fail for want of luck.
	ctx, cancel := context.WithCancel(t.Context())
	pause := func() bool { return sleep(ctx, nil, rand.N(200*time.Microsecond)) == nil }
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { // looks
			for pause() {
				before := owners.Load()
				state, err := checkMark(path)
				if err != nil {
					t.Error(err)
				}
				if owners.Load() == before && before%2 == 1 && state != Running {
					t.Errorf("a held mark is %v", state)
				}
			}
		})
	}
	wg.Go(func() { // collects
		for pause() {
			before := owners.Load()
			m, _, err := lockMark(path, os.O_RDWR)
			if err != nil {
				t.Error(err)
			}
			if m != nil {
				if owners.Load() == before && before%2 == 1 {
					t.Error("a held mark was collected")
				}
				m.remove()
			}
		}
	})
	for i := range 3000 {
		m, err := takeMark(t.Context(), path)
		if err != nil {
			t.Fatalf("owner %d: %v", i, err)
		}
		owners.Add(1)
		if !m.linked() {
			t.Error("holding a mark that is not there")
		}
		owners.Add(1)
		if i%3 == 0 {
			m.unlock() // as if killed
		} else if err := m.remove(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestParseAddr(t *testing.T) {
	for addr, want := range map[string]uint16{
		"127.0.0.1:1": 1, "127.0.0.1:65535": 65535,
		"": 0, "127.0.0.1": 0, "127.0.0.1:": 0, "127.0.0.1:0": 0, "127.0.0.1:01": 0, "127.0.0.1:65536": 0, "127.0.0.1:+1": 0,
		"127.0.0.1:http": 0, "127.0.0.1:1 ": 0, "10.0.0.1:1": 0, "localhost:1": 0, "[::1]:1": 0, "127.0.0.1:1\x00": 0,
	} {
		if got, ok := parseAddr(addr); got != want && ok || ok != (want != 0) {
			t.Errorf("parseAddr(%q) = %d, %v; want %d", addr, got, ok, want)
		}
	}
	if port, ok := markPort(filepath.Base(markPath("", 4711))); port != 4711 || !ok {
		t.Errorf("markPort gives %d, %v", port, ok)
	}
	if _, ok := markPort("registry.db"); ok {
		t.Error("registry.db is taken for a mark")
	}
}
