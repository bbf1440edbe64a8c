package cases

import (
	"math"
	"testing"
	"time"
)

func TestHistogramQuantiles(t *testing.T) {
	for _, test := range []struct {
		name  string
		add   []time.Duration
		times int
		q     float64
		want  time.Duration
	}{
		{name: "nothing", q: 0.5, want: 0},
		{name: "one", add: []time.Duration{time.Millisecond}, times: 1, q: 0.99, want: time.Millisecond},
		{name: "the longest", add: []time.Duration{1000, 2000, time.Second}, times: 1, q: 1, want: time.Second},
		{name: "the shortest", add: []time.Duration{1000, 2000, time.Second}, times: 1, q: 0, want: 1000},
		{name: "the middle", add: []time.Duration{1000, 2000, 3000}, times: 100, q: 0.5, want: 2000},
		{name: "below 1 ns", add: []time.Duration{-5, 0}, times: 1, q: 1, want: 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h histogram
			for range test.times {
				for _, d := range test.add {
					h.add(d)
				}
			}
			if got := h.quantile(test.q); math.Abs(float64(got-test.want)) > 0.01*float64(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			h.reset()
			if got := h.quantile(test.q); got != 0 {
				t.Errorf("after reset: %v, want 0", got)
			}
		})
	}
}

// TestBuckets checks that every duration has a bucket of about its size.
func TestBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(1); d > 0 && d < math.MaxInt64/2; d += d/50 + 1 {
		i := bucket(d)
		if i < last || i >= len(histogram{}.buckets) {
			t.Fatalf("%d ns: bucket %d, after %d", d, i, last)
		}
		last = i
		if off := math.Abs(float64(middle(i) - d)); off > 0.01*float64(d) {
			t.Fatalf("%d ns: the bucket is for %d", d, middle(i))
		}
	}
	if i := bucket(math.MaxInt64); i >= len(histogram{}.buckets) {
		t.Errorf("the longest duration: bucket %d of %d", i, len(histogram{}.buckets))
	}
}
