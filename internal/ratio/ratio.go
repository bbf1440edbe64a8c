// Package ratio compares the speed of two ways to do a thing, in one run, so that the figure means something on a
// machine whose speed drifts.
package ratio

import (
	"slices"
	"testing"
	"time"
)

// Side does an operation n times.
type Side func(n int)

// chunk is how long one side runs before the other has its turn: long enough to be measured, short enough that
// both see the same machine.
const chunk = 20 * time.Millisecond

// Compare runs the two sides in turn, as often as the benchmark's time allows, and reports
//
//	ratio      how many times as fast as base ours is: the median over the pairs of turns
//	ratio-p10  the same at the 10th percentile,
//	ratio-p90  and at the 90th
//	base-ns    the median time of base's operation
//	ns/op      the median time of ours
//
// What the two do must be of comparable length.
func Compare(b *testing.B, ours, base Side) {
	b.Helper()
	n := calibrate(base)
	ours(n) // warm up
	var ratios, oursNS, baseNS []float64
	for i := 0; b.Loop(); i++ {
		var o, s time.Duration
		if i%2 == 0 {
			o, s = clock(ours, n), clock(base, n)
		} else {
			s, o = clock(base, n), clock(ours, n)
		}
		ratios = append(ratios, float64(s)/float64(o))
		oursNS = append(oursNS, float64(o)/float64(n))
		baseNS = append(baseNS, float64(s)/float64(n))
	}
	b.ReportMetric(quantile(ratios, 0.5), "ratio")
	b.ReportMetric(quantile(ratios, 0.1), "ratio-p10")
	b.ReportMetric(quantile(ratios, 0.9), "ratio-p90")
	b.ReportMetric(quantile(baseNS, 0.5), "base-ns")
	b.ReportMetric(quantile(oursNS, 0.5), "ns/op")
}

// calibrate returns how many operations take about a chunk.
func calibrate(f Side) int {
	n := 1
	for {
		d := clock(f, n)
		if d >= chunk/4 {
			return max(1, int(float64(n)*float64(chunk)/float64(d)))
		}
		n *= 2
	}
}

func clock(f Side, n int) time.Duration {
	start := time.Now()
	f(n)
	return time.Since(start)
}

func quantile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}
