package cases

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// fine is how many buckets there are from a power of two to the next: a duration is off by 1 % at most.
const fine = 64

// A histogram keeps durations in buckets. It is safe for concurrent use.
type histogram struct {
	buckets [64 * fine]atomic.Int64
}

func (h *histogram) add(d time.Duration) { h.buckets[bucket(d)].Add(1) }

// reset forgets everything.
func (h *histogram) reset() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
}

// quantile returns the duration that a share q of all is no longer than, or 0 if there is nothing.
func (h *histogram) quantile(q float64) time.Duration {
	var all int64
	for i := range h.buckets {
		all += h.buckets[i].Load()
	}
	left := min(int64(q*float64(all)), all-1)
	for i := range h.buckets {
		n := h.buckets[i].Load()
		if left < n {
			return middle(i)
		}
		left -= n
	}
	return 0
}

// bucket returns where d belongs: below fine ns there is one for each.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	shift := max(bits.Len64(n/fine)-1, 0)
	return shift*fine + int(n>>shift)
}

// middle is a duration of the bucket.
func middle(i int) time.Duration {
	shift := max(i/fine-1, 0)
	low := uint64(i-shift*fine) << shift
	return time.Duration(low + 1<<shift/2)
}
