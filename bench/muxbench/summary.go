package main

import (
	"math"
	"slices"

	"github.com/virtnet/virtnet/bench/internal/cases"
)

// A row is a metric of a case, with each peer's figures.
type row struct {
	Case   string          `json:"case"`
	Metric string          `json:"metric"`
	Unit   string          `json:"unit"`
	Kind   cases.Kind      `json:"kind"`
	Base   string          `json:"base,omitempty"`   // whose figures Ratio is to
	Target cases.Target    `json:"target,omitempty"` // for our mux
	Peers  map[string]cell `json:"peers"`
}

// A cell is what a peer came to in all runs.
type cell struct {
	Value   *spread `json:"value,omitempty"`
	Ratio   *spread `json:"ratio,omitempty"` // to Base's figure of the same run
	Stalled int     `json:"stalled,omitempty"`
	Failed  int     `json:"failed,omitempty"`
}

// A spread sums figures of several runs up.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// newSpread returns nil for no figures.
func newSpread(v []float64) *spread {
	if len(v) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(v))
	return &spread{median(s), s[0], s[len(s)-1], len(s)}
}

// median is that of sorted figures.
func median(s []float64) float64 {
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// summarize makes the rows of all metrics.
func summarize(p plan, ms []measurement) []row {
	index := make(map[turn]cases.Result)
	for _, m := range ms {
		index[m.turn] = m.Result
	}
	var rows []row
	for _, c := range p.cases {
		for _, m := range c.Metrics {
			r := row{c.Name, m.Key, m.Unit, m.Kind, m.Base, m.Target, make(map[string]cell)}
			for _, who := range p.peers {
				if c.For(who.Name) {
					r.Peers[who.Name] = newCell(p.runs, func(run int, peer string) cases.Result {
						return index[turn{run, c.Name, peer}]
					}, m, who.Name)
				}
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// newCell sums a peer's figures up; result returns that of a run and a peer.
func newCell(runs int, result func(run int, peer string) cases.Result, m cases.Metric, who string) cell {
	var c cell
	var values, ratios []float64
	for run := 1; run <= runs; run++ {
		r := result(run, who)
		switch {
		case r.Stalled != "":
			c.Stalled++
		case r.Err != "":
			c.Failed++
		}
		v, ok := r.Values[m.Key]
		if !ok {
			continue
		}
		values = append(values, v)
		if base, ok := result(run, m.Base).Values[m.Key]; ok && base != 0 {
			ratios = append(ratios, v/base)
		}
	}
	c.Value, c.Ratio = newSpread(values), newSpread(ratios)
	return c
}

// round keeps three digits that count.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}
