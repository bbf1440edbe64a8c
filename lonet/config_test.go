package lonet

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// What a Config says, and what it means.
func TestConfig(t *testing.T) {
	for _, test := range []struct {
		name     string
		cfg      Config
		patience time.Duration
		places   int
	}{
		{"zero", Config{}, 10 * time.Second, 1024},
		{"negative", Config{HandshakeTimeout: -1, HalfOpen: -1}, 10 * time.Second, 1024},
		{"set", Config{HandshakeTimeout: time.Minute, HalfOpen: 7}, time.Minute, 7},
		{"without bounds", Config{HandshakeTimeout: 1<<63 - 1, HalfOpen: int(^uint(0) >> 1)}, 1<<63 - 1, int(^uint(0) >> 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.TempDir = t.TempDir()
			n, err := test.cfg.Join(t.Context(), "t")
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			e := engineOf(n)
			if e.halfOpen.after != test.patience || cap(e.halfOpen.places) != test.places {
				t.Errorf("strangers have %v and %d places, want %v and %d", e.halfOpen.after, cap(e.halfOpen.places), test.patience, test.places)
			}
			for level := slog.LevelDebug; level <= slog.LevelError; level += 4 {
				if e.log.Enabled(context.Background(), level) {
					t.Errorf("there is a log at level %v", level)
				}
			}
		})
	}
}
