package lonet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What is stopped in time never runs.
func TestLaterInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := &overdue{after: time.Second}
		var l later
		l.start(set, func(context.Context) { t.Error("it ran") })
		time.Sleep(999 * time.Millisecond)
		if l.stop(func() { t.Error("interrupted, though it did not run") }) {
			t.Error("stop says that it ran")
		}
		time.Sleep(time.Minute)
	})
}

// What runs is interrupted, in both ways, and stop waits for it.
func TestLaterLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := &overdue{after: time.Second}
		start := time.Now()
		var l later
		interrupted, ended := make(chan struct{}), false
		l.start(set, func(ctx context.Context) {
			if took := time.Since(start); took != time.Second {
				t.Errorf("it ran after %v", took)
			}
			<-interrupted
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		})
		time.Sleep(5 * time.Second)
		if !l.stop(func() { close(interrupted) }) || !ended {
			t.Error("stop did not wait for what ran")
		}
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("stop returned after %v", took)
		}
	})
}

// Who stops what has ended by itself does not wait.
func TestLaterEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := &overdue{after: time.Second}
		var l later
		ran := false
		l.start(set, func(context.Context) { ran = true })
		time.Sleep(5 * time.Second)
		if !l.stop(func() {}) || !ran {
			t.Error("it did not run")
		}
	})
}
