package netemtest

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestSeedsFromEnv(t *testing.T) {
	for _, test := range []struct {
		env  string
		want []uint64 // nil is an error
	}{
		{"", []uint64{1, 2, 3}},
		{"17", []uint64{17}},
		{"0", []uint64{0}},
		{"1000-1002", []uint64{1000, 1001, 1002}},
		{"5-5", []uint64{5}},
		{"18446744073709551614-18446744073709551615", []uint64{math.MaxUint64 - 1, math.MaxUint64}},
		{"x", nil},
		{"-", nil},
		{"-3", nil},
		{"3-", nil},
		{"5-4", nil},
		{"1-2-3", nil},
		{" 17", nil},
		{"1,2", nil},
		{"0x10", nil},
		{"18446744073709551616", nil},
	} {
		t.Setenv(seedsEnv, test.env)
		r, err := seedsFromEnv(seedRange{1, 3})
		if test.want == nil {
			if err == nil || !strings.Contains(err.Error(), "NETEM_SEEDS") || !strings.Contains(err.Error(), "1000-1999") {
				t.Errorf("%q: got %v, %v, want an error that says what it should be", test.env, r, err)
			}
			continue
		}
		if got := slices.Collect(r.all()); err != nil || !slices.Equal(got, test.want) || r.count() != uint64(len(got)) {
			t.Errorf("%q: got %v (%d), %v, want %v", test.env, got, r.count(), err, test.want)
		}
	}
}
