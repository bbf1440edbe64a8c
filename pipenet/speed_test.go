package pipenet_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"
)

// A dial, with its accept and what closes both ends, has a budget of allocations.
func TestDialAllocs(t *testing.T) {
	const budget = 5
	dial := benchDial(t, context.Background(), 0)
	if n := testing.AllocsPerRun(2000, func() {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}); n > budget {
		t.Errorf("dial, accept and close allocate %v times, want at most %d", n, budget)
	}
}

// Dialling is flat: with many connections open on both hosts it takes as long as with none.
func TestDialIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second")
	}
	const open, most = 100_000, 1.5
	ctx := context.Background()
	crowd, alone := benchDial(t, ctx, open), benchDial(t, ctx, 0)
	var ratios []float64
	for range 3 { // a machine may have other things to do
		ratio := medianTime(t, crowd, alone)
		t.Logf("with %d connections open a dial takes %.2f times as long as with none", open, ratio)
		if ratio <= most {
			return
		}
		ratios = append(ratios, ratio)
	}
	t.Errorf("with %d connections open a dial takes %.2f times as long as with none, want at most %v", open, ratios, most)
}

// medianTime returns how many times as long as b a takes, by the medians of many turns.
func medianTime(t *testing.T, a, b func() (net.Conn, error)) float64 {
	t.Helper()
	sides := [2]func() (net.Conn, error){a, b}
	const turns, dials = 150, 10
	var took [2][]time.Duration
	for turn := range turns {
		for i := range took {
			side := (i + turn) % 2
			began := time.Now()
			for range dials {
				c, err := sides[side]()
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			took[side] = append(took[side], time.Since(began))
		}
	}
	var median [2]float64
	for i := range took {
		slices.Sort(took[i])
		median[i] = float64(took[i][turns/2])
	}
	return median[0] / median[1]
}
