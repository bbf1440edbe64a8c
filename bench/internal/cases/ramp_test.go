package cases

import (
	"math"
	"testing"
	"time"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// TestCurve looks at a curve that has a quarter of the rate for a second, then all of it.
func TestCurve(t *testing.T) {
	c := curve{{}}
	n := 0.0
	for at := 100 * time.Millisecond; at <= 3*time.Second; at += 100 * time.Millisecond {
		share := 1.0
		if at <= time.Second {
			share = 0.25
		}
		n += share * carrier.LongPath.Rate / 10
		c = append(c, point{at, int64(n)})
	}
	for _, test := range []struct {
		from, to time.Duration
		want     float64
	}{
		{0, time.Second, 0.25},
		{time.Second, 3 * time.Second, 1},
		{0, 2 * time.Second, 0.625},
		{2 * time.Second, time.Minute, 1},
		{time.Minute, time.Hour, 0},
	} {
		if got := c.share(test.from, test.to); math.Abs(got-test.want) > 0.001 {
			t.Errorf("from %v to %v: %v, want %v", test.from, test.to, got, test.want)
		}
	}
	if got := c.reach(0.9, 200*time.Millisecond); got != time.Second {
		t.Errorf("0.9 is reached after %v, want 1 s", got)
	}
	if got := c.reach(1.1, 200*time.Millisecond); got != 0 {
		t.Errorf("1.1 is reached after %v, want never", got)
	}
	if got := c.reach(0.9, time.Minute); got != 0 {
		t.Errorf("a minute of 0.9 is reached after %v, want never", got)
	}
}
