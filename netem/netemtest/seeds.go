package netemtest

import (
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
)

// seedsEnv is the environment variable that chooses seeds.
const seedsEnv = "NETEM_SEEDS"

// seedRange is the seeds from first to last.
type seedRange struct{ first, last uint64 }

// seedsTo returns the seeds from 1 to n.
func seedsTo(n int) (seedRange, error) {
	if n < 1 {
		return seedRange{}, fmt.Errorf("netemtest: Run with %d seeds: there must be one at least", n)
	}
	return seedRange{1, uint64(n)}, nil
}

// seedsFromEnv returns the seeds that the environment asks for, or else the usual ones.
func seedsFromEnv(usual seedRange) (seedRange, error) {
	v := os.Getenv(seedsEnv)
	if v == "" {
		return usual, nil
	}
	r, ok := parseSeeds(v)
	if !ok {
		return seedRange{}, fmt.Errorf("netemtest: %s is %q; it must be a seed, as 17, or a range of them, as 1000-1999", seedsEnv, v)
	}
	return r, nil
}

func parseSeeds(v string) (r seedRange, ok bool) {
	first, last, isRange := strings.Cut(v, "-")
	if !isRange {
		last = first
	}
	var err1, err2 error
	r.first, err1 = strconv.ParseUint(first, 10, 64)
	r.last, err2 = strconv.ParseUint(last, 10, 64)
	return r, err1 == nil && err2 == nil && r.first <= r.last
}

func (r seedRange) has(seed uint64) bool { return r.first <= seed && seed <= r.last }

// count returns how many there are: all numbers are too many to count, and to run.
func (r seedRange) count() uint64 { return r.last - r.first + 1 }

// all yields the seeds.
func (r seedRange) all() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for s := r.first; yield(s) && s < r.last; s++ {
		}
	}
}
