package netem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet"
)

// RunConfig has what a plan needs besides the network. All its functions are called one at a time, by Run's goroutine: the
// plan goes on when they return. They may be nil.
type RunConfig struct {
	// Host returns a host that is to crash or to vanish, or nil if it is not up: then nothing happens to it. The method
	// Host of a virtnet.SubNetwork is one. It is needed if there are such steps.
	Host func(name string) *virtnet.Host

	// Start makes a host again and starts on it what ran there. It does not wait for that to end, and ctx, which is
	// that of Run, has no say over it. An error ends the plan. It is needed if hosts start.
	Start func(ctx context.Context, name string) error

	// Trace is told what is done, right before it is, and when that was due from the start of the plan. It is for the
	// log of a test: "isolate c for 5s", and later "end of isolate c for 5s".
	Trace func(at time.Duration, what string)
}

// Run does what the plan says, at its times from now. It returns when the last step is done and the last with a For is
// over. At one time, what is over ends first, and then the steps are done in the order of the plan.
//
// When ctx ends, or a step fails, Run takes back what has a For that is not over, and returns the error of ctx, or of the
// step. Hosts that are down stay so, and what has no For stays. In any case no goroutine is left.
//
// Rules, holds and cuts that the program itself sets meanwhile, where a step with a For is not over, are gone when it
// ends. c may be nil.
func (p *Plan) Run(ctx context.Context, n *Net, c *RunConfig) error {
	if err := p.Check(); err != nil {
		return err
	}
	if c == nil {
		c = new(RunConfig)
	}
	if err := p.needs(c); err != nil {
		return err
	}
	r := &runner{net: n, config: c, claims: make(map[claimKey]*claim), undo: make(map[*Step]func() error)}
	life, cancel := context.WithCancel(ctx)
	r.life = life
	defer r.swizzles.Wait()
	defer cancel()
	began := time.Now()
	for _, e := range p.events() {
		err := sleepUntil(ctx, began.Add(e.at))
		if err == nil {
			if err = r.do(ctx, e); err != nil {
				err = fmt.Errorf("netem: plan: %v: %w", e.step, err)
			}
		}
		if err != nil {
			cancel()
			if also := r.takeBack(p); also != nil {
				err = errors.Join(err, also)
			}
			return err
		}
	}
	if r.swizzles.Wait(); r.cutShort.Load() {
		return ctx.Err()
	}
	return nil
}

// needs tells which function is missing.
func (p *Plan) needs(c *RunConfig) error {
	for i := range p.Steps {
		s := &p.Steps[i]
		down := s.verb == verbCrash || s.verb == verbVanish
		if down && c.Host == nil {
			return fmt.Errorf("netem: plan: %v: it wants RunConfig.Host", s)
		}
		if (down && s.length > 0 || s.verb == verbStart) && c.Start == nil {
			return fmt.Errorf("netem: plan: %v: it wants RunConfig.Start", s)
		}
	}
	return nil
}

// event is the start of a step, or its end.
type event struct {
	at   time.Duration
	step *Step
	end  bool
}

// events returns what there is to do, in order.
func (p *Plan) events() []event {
	var all []event
	for i := range p.Steps {
		s := &p.Steps[i]
		all = append(all, event{s.at, s, false})
		if s.length > 0 {
			all = append(all, event{s.at + s.length, s, true})
		}
	}
	first := func(end bool) int {
		if end {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(first(a.end), first(b.end)))
	})
	return all
}

// runner is a plan that runs. Run's goroutine owns it.
type runner struct {
	net      *Net
	config   *RunConfig
	claims   map[claimKey]*claim
	undo     map[*Step]func() error // of those that have begun and have a For
	life     context.Context        // of the swizzles: it ends with Run's, or when a step fails
	swizzles sync.WaitGroup
	cutShort atomic.Bool // the end of life came before that of a swizzle, which sets this
}

func sleepUntil(ctx context.Context, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d := time.Until(at); d > 0 {
		return sleep(ctx, d)
	}
	return nil
}

// do does what is due.
func (r *runner) do(ctx context.Context, e event) error {
	s := e.step
	if e.end {
		undo := r.undo[s]
		delete(r.undo, s)
		r.trace(e.at, "end of "+s.what())
		return undo()
	}
	r.trace(e.at, s.what())
	undo, err := r.begin(ctx, s)
	if s.length > 0 {
		r.undo[s] = undo
	}
	return err
}

func (r *runner) trace(at time.Duration, what string) {
	if r.config.Trace != nil {
		r.config.Trace(at, what)
	}
}

// takeBack ends what has a For, and starts nothing.
func (r *runner) takeBack(p *Plan) error {
	var errs []error
	for i := range p.Steps {
		s := &p.Steps[i]
		if undo := r.undo[s]; undo != nil && s.verb != verbCrash && s.verb != verbVanish {
			errs = append(errs, undo())
		}
	}
	return errors.Join(errs...)
}
