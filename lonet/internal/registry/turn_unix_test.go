//go:build unix

package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Many share a turn; one who has it alone shares it with nobody.
func TestTurn(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ first, second, both bool }{
		{false, false, true}, {false, true, false}, {true, false, false}, {true, true, false},
	} {
		first, err := tryTurn(dir, test.first)
		if first == nil || err != nil {
			t.Fatalf("first, alone %v: %v, %v", test.first, first, err)
		}
		second, err := tryTurn(dir, test.second)
		if err != nil || (second != nil) != test.both {
			t.Errorf("alone %v, then alone %v: got %v, %v; want a turn: %v", test.first, test.second, second, err, test.both)
		}
		if second != nil {
			second.leave()
		}
		first.leave()
	}

	held, err := takeTurn(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := takeTurn(ctx, dir, false); err != context.DeadlineExceeded {
		t.Errorf("got %v, want the context's error", err)
	}
	time.AfterFunc(10*time.Millisecond, held.leave)
	next, err := takeTurn(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	next.leave()
}

// A turn is at the directory that the path leads to, and at nothing else.
func TestTurnElsewhere(t *testing.T) {
	tmp := t.TempDir()
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"missing", func(string) error { return nil }, "no such file or directory"},
		{"file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "is not a directory"},
		{"link", func(path string) error { return os.Symlink(tmp, path) }, "is a symbolic link: a network must be a directory"},
		{"pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is not a directory"},
	} {
		path := filepath.Join(tmp, test.name)
		if err := test.make(path); err != nil {
			t.Fatal(err)
		}
		for _, alone := range []bool{false, true} {
			if turn, err := tryTurn(path, alone); turn != nil || err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%s: got %v, %v; want error %q", test.name, turn, err, test.want)
			}
		}
	}
	if _, err := takeTurn(t.Context(), filepath.Join(tmp, "missing"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: got %v, want fs.ErrNotExist", err)
	}
}

// Who waits for a turn at a directory that is removed meanwhile, and made again, gets one at the new one.
func TestTurnReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n")
	for range 50 {
		os.Mkdir(dir, 0o700)
		held, err := takeTurn(t.Context(), dir, true)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan *turn)
		go func() {
			turn, err := enter(t.Context(), filepath.Dir(dir), dir, false)
			if err != nil {
				t.Error(err)
			}
			done <- turn
		}()
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		held.leave()
		turn := <-done
		if now, err := os.Stat(dir); err != nil || !os.SameFile(now, turn.dir) {
			t.Errorf("the turn is at another directory: %v", err)
		}
		turn.leave()
	}
}
