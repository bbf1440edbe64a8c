package netem_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
)

// swizzle tells what became of the hosts, second by second.
func swizzle(t *testing.T, em *netem.Net, hosts []string) string {
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		done := make(chan error, 1)
		go func() { done <- em.Swizzle(t.Context(), netem.Constant(time.Second), hosts...) }()
		for range 20 {
			synctest.Wait()
			for _, h := range hosts {
				if em.Link(h, "elsewhere").State().Cut {
					b.WriteString(h)
				}
			}
			b.WriteString(" ")
			time.Sleep(time.Second)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return strings.TrimSpace(b.String())
}

func TestSwizzle(t *testing.T) {
	hosts := []string{"a", "b", "c", "d", "e"}
	seen := make(map[string]bool)
	for seed := range uint64(10) {
		em := netem.New(seed)
		first, second := swizzle(t, em, hosts), swizzle(t, em, hosts)
		if again := swizzle(t, netem.New(seed), hosts); again != first {
			t.Errorf("seed %d: first %q, then %q", seed, first, again)
		}
		for _, got := range []string{first, second} {
			seen[got] = true
			// One more every second, and then one less.
			most, steps := 0, strings.Fields(got)
			for i, s := range steps {
				most = max(most, len(s))
				if want := min(i+1, len(steps)-i); len(s) != want {
					t.Errorf("seed %d: %q: %d hosts are isolated in second %d, want %d", seed, got, len(s), i, want)
				}
			}
			if most == 0 {
				t.Errorf("seed %d: nobody was isolated", seed)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("20 swizzles are only %d different ones: %v", len(seen), seen)
	}
}

// A context that ends heals everybody.
func TestSwizzleCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		em := netem.New(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := em.Swizzle(ctx, netem.Constant(time.Hour), "a", "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Swizzle: %v", err)
		}
		for _, h := range []string{"a", "b"} {
			if em.Link(h, "c").State().Cut {
				t.Errorf("%s is still isolated", h)
			}
		}
		if err := em.Swizzle(t.Context(), netem.Constant(time.Hour)); err != nil {
			t.Errorf("Swizzle of nobody: %v", err)
		}
		if err := em.Swizzle(t.Context(), netem.Constant(-1), "a"); err == nil {
			t.Error("Swizzle with a negative pause succeeds")
		}
	})
}
