package cases

import (
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// sample is how often ramp looks.
const sample = 50 * time.Millisecond

// ramp measures how soon a new session uses the bandwidth of a long path, and then how much of it.
func ramp(rise, after time.Duration) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		var got atomic.Int64
		e.serve(func(c net.Conn) {
			e.fail(readBulk(c, &got))
			c.Close()
		})
		start := time.Now()
		if err := e.writeBulk(); err != nil {
			return nil, err
		}
		c := curve{{}}
		for t := sample; t <= rise+after; t += sample {
			time.Sleep(time.Until(start.Add(t)))
			c = append(c, point{time.Since(start), got.Load()})
			if err := e.failed(); err != nil {
				return nil, err
			}
		}
		if got.Load() == 0 {
			return nil, stalled{"nothing came"}
		}
		v := Values{
			"share":   c.share(rise, rise+after),
			"share2s": c.share(0, rise),
		}
		if t := c.reach(0.9, 200*time.Millisecond); t > 0 {
			v["reached"] = t.Seconds()
		}
		for i, key := range []string{"share500ms", "share1000ms", "share1500ms", "share2000ms"} {
			v[key] = c.share(rise*time.Duration(i)/4, rise*time.Duration(i+1)/4)
		}
		return v, nil
	}
}

// A curve is how many bytes had come when.
type curve []point

type point struct {
	t time.Duration
	n int64
}

// share returns what part of the long path's rate was used between two moments.
func (c curve) share(from, to time.Duration) float64 {
	a, b := c[c.at(from)], c[c.at(to)]
	if b.t <= a.t {
		return 0
	}
	return float64(b.n-a.n) / (b.t - a.t).Seconds() / carrier.LongPath.Rate
}

// at returns the first point that is not before t, or the last of all.
func (c curve) at(t time.Duration) int {
	i := slices.IndexFunc(c, func(p point) bool { return p.t >= t })
	if i < 0 {
		return len(c) - 1
	}
	return i
}

// reach returns from when on a share of the rate was used for as long as hold, 0 if that did not happen.
func (c curve) reach(share float64, hold time.Duration) time.Duration {
	for _, p := range c {
		if p.t+hold <= c[len(c)-1].t && p.n > 0 && c.share(p.t, p.t+hold) >= share {
			return p.t
		}
	}
	return 0
}
