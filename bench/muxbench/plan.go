package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/virtnet/virtnet/bench/internal/cases"
	"github.com/virtnet/virtnet/bench/internal/peer"
)

// A plan is what is to be measured.
type plan struct {
	peers []peer.Peer
	cases []cases.Case
	runs  int
	time  time.Duration
}

// A turn is one measurement to make.
type turn struct {
	Run  int    `json:"run"` // from 1 on
	Case string `json:"case"`
	Peer string `json:"peer"`
}

// A measurement is one that was made.
type measurement struct {
	turn
	cases.Result
}

// measurer is how one is made.
type measurer interface {
	measure(context.Context, cases.Case, peer.Peer) cases.Result
}

// order returns all measurements to make. Within a run the peers take their turns at one case right after each other,
// so that what disturbs the machine for a while disturbs all of them; who begins is another in each run.
func (p plan) order() []turn {
	var ts []turn
	for run := range p.runs {
		for _, c := range p.cases {
			for i := range p.peers {
				who := p.peers[(i+run)%len(p.peers)]
				if c.For(who.Name) {
					ts = append(ts, turn{run + 1, c.Name, who.Name})
				}
			}
		}
	}
	return ts
}

// run makes all measurements, and tells of each as it is there.
func (p plan) run(ctx context.Context, how measurer, progress io.Writer) ([]measurement, error) {
	turns := p.order()
	var ms []measurement
	for i, t := range turns {
		c, err := cases.ByName(t.Case)
		if err != nil {
			return nil, err
		}
		who, err := peer.ByName(t.Peer)
		if err != nil {
			return nil, err
		}
		m := measurement{t, how.measure(ctx, c, who)}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		ms = append(ms, m)
		fmt.Fprintf(progress, "%d/%d  run %d  %-11s  %-8s  %s\n", i+1, len(turns), m.Run, m.Case, m.Peer, brief(c, m.Result))
	}
	return ms, nil
}

// brief is a result in a few words.
func brief(c cases.Case, r cases.Result) string {
	switch {
	case r.Err != "":
		return "FAILED: " + r.Err
	case r.Stalled != "":
		return "STALLED: " + r.Stalled
	}
	first := c.Metrics[0]
	return figure(r.Values[first.Key]) + " " + first.Unit
}

// anyFailed returns an error if there is a measurement that has no values.
func anyFailed(ms []measurement) error {
	var errs []error
	for _, m := range ms {
		if m.Err != "" || m.Stalled != "" {
			errs = append(errs, fmt.Errorf("%s, %s: %s%s", m.Peer, m.Case, m.Stalled, m.Err))
		}
	}
	return errors.Join(errs...)
}
