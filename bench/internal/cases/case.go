// Package cases has what is measured: one thing that a program does with streams in each file.
package cases

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtnet/virtnet/bench/internal/peer"
)

// A Case is something to measure.
type Case struct {
	Name    string
	Doc     string
	Over    string        // the carrier's name
	Metrics []Metric      // what comes out, the most telling first
	Without []string      // peers that it is not for
	Limit   time.Duration // within which it must end; else the peer has stalled
	Extra   bool          // to be asked for by name

	run func(e *env) (Values, error)
}

// A Metric is one of the figures of a case.
type Metric struct {
	Key    string
	Unit   string
	Kind   Kind
	Base   string // the peer to whose figure the others' are given as ratios, "" for none
	Target Target // for our mux: of the ratio if there is a Base
}

// Kind sorts metrics into tables.
type Kind string

const (
	Main   Kind = "main"
	CPU    Kind = "cpu"
	Allocs Kind = "allocs"
	More   Kind = "more"
)

// Values are figures by the keys of metrics.
type Values map[string]float64

// A Result is what one measurement came to: Values, or why there are none.
type Result struct {
	Values  Values `json:"values,omitempty"`
	Stalled string `json:"stalled,omitempty"` // the peer stood still, here
	Err     string `json:"err,omitempty"`
}

// For tells whether the case is for the peer.
func (c Case) For(peer string) bool { return !slices.Contains(c.Without, peer) }

// Measure measures a peer for about t, if the case has no time of its own, and leaves it closed. A peer that stands
// still is left as it is when Limit is over, goroutines and all.
func (c Case) Measure(p peer.Peer, t time.Duration) Result {
	done := make(chan Result, 1)
	go func() { done <- c.measure(p, t) }()
	select {
	case r := <-done:
		return r
	case <-time.After(c.Limit):
		return Result{Stalled: fmt.Sprintf("not done within %v", c.Limit)}
	}
}

func (c Case) measure(p peer.Peer, t time.Duration) Result {
	n, err := p.Open(c.Over)
	if err != nil {
		return Result{Err: err.Error()}
	}
	e := newEnv(n, t)
	defer e.close()
	v, err := c.run(e)
	if _, ok := errors.AsType[stalled](err); ok {
		return Result{Stalled: err.Error()}
	}
	if err != nil {
		return Result{Err: err.Error()}
	}
	return Result{Values: v}
}

// stalled is the error that nothing went on any more.
type stalled struct{ where string }

func (s stalled) Error() string { return s.where }

// ByName returns a case of All.
func ByName(name string) (Case, error) {
	var names []string
	for _, c := range All {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Case{}, fmt.Errorf("case %q is not known: there are %s", name, strings.Join(names, ", "))
}
