package netem

import (
	"context"
	"errors"
	"sync"
)

// begin does a step, and returns what ends it.
func (r *runner) begin(ctx context.Context, s *Step) (undo func() error, err error) {
	switch s.verb {
	case verbAll:
		return r.setAll(s)
	case verbSwizzle:
		return r.swizzle(s), nil
	case verbHeal:
		r.net.Heal()
		return nil, nil
	case verbClear:
		r.clear(s)
		return nil, nil
	case verbCrash, verbVanish:
		return r.crash(ctx, s)
	case verbStart:
		return nil, r.start(ctx, s)
	}
	if p := r.part(s); p != nil {
		return func() error { p.Heal(); return nil }, nil
	}
	return r.links(s)
}

// part makes the partition that the step is, or returns nil.
func (r *runner) part(s *Step) *Partition {
	switch n := r.net; s.verb {
	case verbPartition:
		return n.Partition(s.groups...)
	case verbOneWay:
		return n.OneWay(s.links.From, s.links.To)
	case verbIsolate:
		return n.Isolate(s.groups[0]...)
	case verbHalves:
		return n.Halves(s.groups[0]...)
	case verbBridge:
		return n.Bridge(s.groups[0]...)
	case verbRing:
		return n.Ring(s.groups[0]...)
	}
	return nil
}

func (r *runner) setAll(s *Step) (undo func() error, err error) {
	k := claimKey{of: verbAll}
	before := r.net.allRules()
	err = r.claim(k, s, func() error { return r.net.SetAll(before) }, func() error { return r.net.SetAll(s.rules) })
	return func() error { return r.release(k, s) }, err
}

// links does to each link what the step says.
func (r *runner) links(s *Step) (undo func() error, err error) {
	of := s.verb
	switch s.verb { // what they end
	case verbRelease:
		of = verbHold
	case verbMend:
		of = verbCut
	}
	all := s.links.of(r.net)
	var errs []error
	for _, l := range all {
		errs = append(errs, r.claim(claimKey{of, l.from, l.to}, s, restore(l, of), onLink(l, s)))
	}
	return func() error {
		var errs []error
		for _, l := range all {
			errs = append(errs, r.release(claimKey{of, l.from, l.to}, s))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

// onLink returns what does the step to one link.
func onLink(l *Link, s *Step) func() error {
	if s.verb == verbLink {
		return func() error { return l.Set(s.rules) }
	}
	f := map[verb]func(){
		verbHold: l.Hold, verbRelease: l.Release, verbCut: l.Cut, verbMend: l.Mend, verbReset: l.Reset, verbSever: l.Sever,
	}[s.verb]
	return func() error { f(); return nil }
}

// clear takes back everything but partitions, and crashes. What is claimed is not any more.
func (r *runner) clear(s *Step) {
	links, all := s.links.of(r.net), s.links.none()
	if all {
		delete(r.claims, claimKey{of: verbAll})
		_ = r.net.SetAll(Rules{}) // nothing can be wrong with those
		links = r.net.those(anyLink)
	}
	for _, l := range links {
		for _, of := range []verb{verbLink, verbHold, verbCut} {
			delete(r.claims, claimKey{of, l.from, l.to})
		}
		l.Clear()
	}
}

// swizzle starts to isolate the hosts; it returns once the first is, so that what comes next in the plan finds it.
func (r *runner) swizzle(s *Step) (undo func() error) {
	ctx, cancel := context.WithCancel(r.life)
	begun, done := make(chan struct{}), make(chan struct{})
	first := &firstWait{Context: ctx, tell: sync.OnceFunc(func() { close(begun) })}
	r.swizzles.Go(func() {
		defer close(done)
		defer cancel()
		defer first.tell()
		// The pause has been checked, so it fails only when ctx ends.
		if err := r.net.Swizzle(first, s.pause, s.groups[0]...); err != nil && r.life.Err() != nil {
			r.cutShort.Store(true)
		}
	})
	<-begun
	return func() error {
		cancel()
		<-done
		return nil
	}
}

// firstWait is a context that tells when somebody waits for it.
type firstWait struct {
	context.Context
	tell func()
}

func (f *firstWait) Done() <-chan struct{} {
	f.tell()
	return f.Context.Done()
}

// crash takes hosts down. They start again when no step that took them down is left.
func (r *runner) crash(ctx context.Context, s *Step) (undo func() error, err error) {
	take := r.net.Crash
	if s.verb == verbVanish {
		take = r.net.Vanish
	}
	var errs []error
	key := func(host string) claimKey { return claimKey{of: verbCrash, from: host} }
	for _, host := range s.groups[0] {
		if h := r.config.Host(host); h != nil {
			errs = append(errs, take(h))
		}
		start := func() error { return r.config.Start(ctx, host) }
		_ = r.claim(key(host), s, start, func() error { return nil }) // it is down already
	}
	return func() error {
		var errs []error
		for _, host := range s.groups[0] {
			errs = append(errs, r.release(key(host), s))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

// start starts hosts, whoever took them down.
func (r *runner) start(ctx context.Context, s *Step) error {
	var errs []error
	for _, host := range s.groups[0] {
		delete(r.claims, claimKey{of: verbCrash, from: host})
		errs = append(errs, r.config.Start(ctx, host))
	}
	return errors.Join(errs...)
}
