package registry

import (
	"context"
	"math/rand/v2"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/virtnet/virtnet"
)

// SQLite never waits for us: its busy handlers know no context, and do not run at all where waiting could
// deadlock (two processes that make one database at once). So every statement is tried, and tried again here,
// with no lock held while waiting.

// busy tells whether a statement failed only because another connection was at the database.
func busy(err error) bool {
	if err == nil {
		return false
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultBusy,
		sqlite.ResultProtocol, // SQLite lost too many races
		sqlite.ResultSchema:   // somebody is making the tables
		return true
	}
	return false
}

// sleep waits for d. It ends early with ErrRegistryDown when down is closed, else with the context's error.
func sleep(ctx context.Context, down <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-down:
		return virtnet.ErrRegistryDown
	case <-ctx.Done():
		select {
		case <-down:
			return virtnet.ErrRegistryDown
		default:
			return ctx.Err()
		}
	}
}

// backoff is how long to wait before try n+1 of something done once, as opening: from 0.1 to 4 ms, random so that
// processes that were started together do not meet again.
func backoff(n int) time.Duration {
	d := min(200*time.Microsecond<<min(n, 10), 4*time.Millisecond)
	return d/2 + rand.N(d/2)
}

// rewait is how long to wait before try n+1 of a statement. Short, since a statement of another process takes some
// 12 µs; after 200 tries somebody keeps the lock, and it is no longer worth the CPU.
func rewait(n int) time.Duration {
	if n < 200 {
		return 50 * time.Microsecond
	}
	return time.Millisecond
}

// A pacer makes a writer leave gaps. Who has just released SQLite's write lock is on the CPU and would take it
// again: others that wait in steps would starve, for hundreds of milliseconds at times. The zero value is ready.
type pacer struct {
	writes int
	busyAt time.Time
}

const (
	paceEvery  = 12                    // writes between two gaps; with 4 the worst wait halves and a third of the rate is lost
	paceGap    = 20 * time.Microsecond // at least; a timer makes it some 70 µs
	paceMemory = 20 * time.Millisecond // how long one refusal makes a writer polite
)

func (p *pacer) wasBusy() { p.busyAt = time.Now() }

// wrote counts a write and tells whether a gap is due, which the caller makes after it has let go of its locks.
func (p *pacer) wrote() bool {
	p.writes++
	return p.writes%paceEvery == 0 && !p.busyAt.IsZero() && time.Since(p.busyAt) < paceMemory
}
