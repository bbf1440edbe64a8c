package netem

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtnet/virtnet/internal/hostname"
)

// verb is what a step does, as a file has it.
type verb string

const (
	verbAll       verb = "all"
	verbLink      verb = "link"
	verbPartition verb = "partition"
	verbOneWay    verb = "one-way"
	verbIsolate   verb = "isolate"
	verbHalves    verb = "halves"
	verbBridge    verb = "bridge"
	verbRing      verb = "ring"
	verbSwizzle   verb = "swizzle"
	verbHeal      verb = "heal"
	verbHold      verb = "hold"
	verbRelease   verb = "release"
	verbCut       verb = "cut"
	verbMend      verb = "mend"
	verbClear     verb = "clear"
	verbReset     verb = "reset"
	verbSever     verb = "sever"
	verbCrash     verb = "crash"
	verbVanish    verb = "vanish"
	verbStart     verb = "start"
)

// object is what a verb is about.
type object uint8

const (
	noObject   object = iota
	hostList          // a,b
	groupList         // a,b | c
	linkList          // a -> b, or a <-> b
	wayOnly           // a -> b
	maybeLinks        // linkList, or nothing
)

// verbs says what steps look like.
var verbs = []struct {
	verb   verb
	object object
	least  int  // hosts, or groups
	rules  bool // follow
	ends   bool // may have an end
}{
	{verbAll, noObject, 0, true, true},
	{verbLink, linkList, 0, true, true},
	{verbPartition, groupList, 2, false, true},
	{verbOneWay, wayOnly, 0, false, true},
	{verbIsolate, hostList, 1, false, true},
	{verbHalves, hostList, 2, false, true},
	{verbBridge, hostList, 3, false, true},
	{verbRing, hostList, 4, false, true},
	{verbSwizzle, hostList, 1, false, true},
	{verbHeal, noObject, 0, false, false},
	{verbHold, linkList, 0, false, true},
	{verbRelease, linkList, 0, false, false},
	{verbCut, linkList, 0, false, true},
	{verbMend, linkList, 0, false, false},
	{verbClear, maybeLinks, 0, false, false},
	{verbReset, linkList, 0, false, false},
	{verbSever, linkList, 0, false, false},
	{verbCrash, hostList, 1, false, true},
	{verbVanish, hostList, 1, false, true},
	{verbStart, hostList, 1, false, false},
}

// find returns the index in verbs, or -1.
func (v verb) find() int {
	for i := range verbs {
		if verbs[i].verb == v {
			return i
		}
	}
	return -1
}

// maxErrors is how many errors of a plan are told.
const maxErrors = 10

// maxPlanTime is the longest time in a plan: sums of two of them are still times.
const maxPlanTime = 100 * 365 * 24 * time.Hour

// Check tells what is wrong with the plan: the first ten errors.
func (p *Plan) Check() error {
	e := errorList{}
	for _, err := range checkHosts(p.Hosts) {
		e.add(fmt.Errorf("netem: plan: hosts: %w", err))
	}
	for i := range p.Steps {
		for _, err := range p.Steps[i].check(p.Hosts) {
			e.add(fmt.Errorf("netem: plan: step %d, %v: %w", i+1, p.Steps[i], err))
		}
	}
	return e.join()
}

// errorList is what is told of many errors.
type errorList struct {
	errs []error
	more int
}

func (e *errorList) add(err error) {
	if len(e.errs) == maxErrors {
		e.more++
		return
	}
	e.errs = append(e.errs, err)
}

func (e *errorList) join() error {
	if e.more > 0 {
		return errors.Join(append(e.errs, fmt.Errorf("and %d more", e.more))...)
	}
	return errors.Join(e.errs...)
}

// check tells what is wrong with a step, in a plan with those hosts.
func (s *Step) check(hosts []string) (errs []error) {
	i := s.verb.find()
	if i < 0 {
		return []error{errors.New("it does nothing: make steps with At")}
	}
	v := verbs[i]
	if err := checkTime(s.at); err != nil {
		errs = append(errs, fmt.Errorf("time: %w", err))
	}
	switch {
	case s.length != 0 && !v.ends:
		errs = append(errs, fmt.Errorf("for: %s is over at once, and takes none", s.verb))
	case s.length != 0:
		if err := checkTime(s.length); err != nil {
			errs = append(errs, fmt.Errorf("for: %w", err))
		}
	}
	errs = append(errs, s.checkObject(v.object, v.least)...)
	for _, h := range s.hosts() {
		if len(hosts) > 0 && !slices.Contains(hosts, h) {
			errs = append(errs, fmt.Errorf("%s: no such host; the plan's are %s", name(h), names(hosts)))
		}
	}
	if err := s.rules.Check(); err != nil {
		errs = append(errs, errors.New(strings.TrimPrefix(err.Error(), "netem: ")))
	}
	if s.verb == verbSwizzle {
		if err := s.pause.check(); err != nil {
			errs = append(errs, fmt.Errorf("pause: %w", err))
		} else if s.pause == (Delay{}) {
			errs = append(errs, errors.New("pause: swizzle wants one, for example pause=exp(10s)"))
		}
	}
	return errs
}

func checkTime(d time.Duration) error {
	if d < 0 {
		return errors.New("it is negative")
	} else if d > maxPlanTime {
		return errors.New("it is more than 100 years")
	}
	return nil
}

// checkObject tells what is wrong with the hosts, the groups or the links.
func (s *Step) checkObject(o object, least int) (errs []error) {
	lists := s.groups
	switch {
	case o == noObject || o == maybeLinks && s.links.none():
		return nil
	case o == groupList && len(s.groups) < least:
		errs = append(errs, fmt.Errorf("%s wants %d groups or more, with | between them", s.verb, least))
	case o == hostList && len(s.groups[0]) < least:
		return append(errs, fmt.Errorf("%s wants %s or more, with commas between them", s.verb, count(least, "host")))
	case o != groupList && o != hostList:
		lists = [][]string{s.links.From, s.links.To}
		if s.links.Both && o == wayOnly {
			errs = append(errs, fmt.Errorf("%s wants ->, and not both ways", s.verb))
		}
	}
	for _, list := range lists {
		if len(list) == 0 {
			errs = append(errs, errors.New("a group has no host"))
		}
		errs = append(errs, checkHosts(list)...)
	}
	return errs
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkHosts tells what is wrong with a list of hosts.
func checkHosts(list []string) (errs []error) {
	for i, h := range list {
		if err := checkHost(h, list[:i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func checkHost(h string, before []string) error {
	if slices.Contains(before, h) {
		return fmt.Errorf("%s is there twice", name(h))
	}
	return hostname.Check(h)
}

// hosts returns the hosts that the step names, each once.
func (s *Step) hosts() []string {
	var all []string
	for _, list := range append(slices.Clone(s.groups), s.links.From, s.links.To) {
		for _, h := range list {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all
}
