package netem

import "slices"

// A claim is what steps have done to one thing: the rules of a link, its hold, its cut, a host that is down. The last that is
// not over is what counts; when there is none any more, it is as before the first.
type claim struct {
	before func() error // brings back what was before
	steps  []claimant
}

type claimant struct {
	step *Step
	do   func() error
}

type claimKey struct {
	of       verb
	from, to string
}

// claim does do to a thing for a step; before brings back what was before it. A step that has no end leaves nothing to bring
// back but itself.
func (r *runner) claim(k claimKey, s *Step, before, do func() error) error {
	c := r.claims[k]
	if c == nil || len(c.steps) == 0 {
		c = &claim{before: before}
		r.claims[k] = c
	}
	if s.length == 0 {
		delete(r.claims, k)
	} else {
		c.steps = append(c.steps, claimant{s, do})
	}
	return do()
}

// release ends the claim of a step.
func (r *runner) release(k claimKey, s *Step) error {
	c := r.claims[k]
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(c.steps, func(x claimant) bool { return x.step == s })
	if i < 0 {
		return nil
	}
	last := i == len(c.steps)-1
	c.steps = slices.Delete(c.steps, i, i+1)
	switch {
	case len(c.steps) == 0:
		delete(r.claims, k)
		return c.before()
	case last:
		return c.steps[i-1].do()
	}
	return nil
}

// restore returns what makes a link in one respect what it is now.
func restore(l *Link, of verb) func() error {
	l.mu.Lock()
	own, rules, held, cut := l.own, l.rules, l.held, l.cut
	l.mu.Unlock()
	return func() error {
		switch {
		case of == verbLink && own:
			return l.Set(*rules)
		case of == verbLink:
			l.disown()
		case of == verbHold && !held:
			l.Release()
		case of == verbCut && !cut:
			l.Mend()
		}
		return nil
	}
}

// disown takes the link's own rules back, and nothing else.
func (l *Link) disown() {
	l.change(func() { l.own, l.rules = false, l.net.defaults })
}

// allRules returns the rules of the network.
func (n *Net) allRules() Rules {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.defaults
}
