package registry

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"zombiezen.com/go/sqlite"
)

func TestBusy(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{sqlite.ResultBusy.ToError(), true},
		{sqlite.ResultBusyRecovery.ToError(), true},
		{sqlite.ResultBusySnapshot.ToError(), true},
		{sqlite.ResultProtocol.ToError(), true},
		{sqlite.ResultSchema.ToError(), true},
		{sqlite.ResultConstraintPrimaryKey.ToError(), false},
	} {
		if got := busy(test.err); got != test.want {
			t.Errorf("busy(%v) = %v", test.err, got)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := make(chan struct{})
		start := time.Now()
		if err := sleep(t.Context(), down, time.Second); err != nil || time.Since(start) != time.Second {
			t.Errorf("undisturbed: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := sleep(ctx, down, time.Minute); err != context.DeadlineExceeded {
			t.Errorf("context: %v", err)
		}
		close(down)
		// The registry is the wider thing that is down.
		if err := sleep(ctx, down, time.Minute); !errors.Is(err, virtnet.ErrRegistryDown) {
			t.Errorf("down: %v", err)
		}
	})
}

func TestBackoff(t *testing.T) {
	for n := range 100 {
		if d := backoff(n); d < 100*time.Microsecond || d > 4*time.Millisecond {
			t.Errorf("backoff(%d) = %v", n, d)
		}
	}
}

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		gaps := func() (n int) {
			for range 2 * paceEvery {
				if p.wrote() {
					n++
				}
			}
			return n
		}
		if n := gaps(); n != 0 {
			t.Errorf("alone: %d gaps, want none", n)
		}
		p.wasBusy()
		if n := gaps(); n != 2 {
			t.Errorf("with others: %d gaps, want 2", n)
		}
		time.Sleep(paceMemory)
		if n := gaps(); n != 0 {
			t.Errorf("alone again: %d gaps, want none", n)
		}
	})
}
