package netem

import (
	"slices"
	"time"
)

// A Plan is a schedule of faults: what happens to the network, and when. It is made in Go,
//
//	plan := &netem.Plan{Steps: []netem.Step{
//		netem.At(0).All(netem.Rules{Latency: netem.Exponential(5 * time.Millisecond)}),
//		netem.At(30 * time.Second).Isolate("c").For(20 * time.Second),
//		netem.At(time.Minute).Crash("b").For(10 * time.Second),
//	}}
//
// or read from a file ([ReadPlan], [ParsePlan]), or by chance ([RandomPlan]). It is the same whichever way it was made, and
// [Plan.String] tells it as a file. [Plan.Run] does what it says.
//
// A Plan may be run by several goroutines at once, each on a Net of its own, as long as nobody changes it.
type Plan struct {
	// Hosts are the hosts that the steps may name. If there are none, they may name any.
	Hosts []string
	// Steps need not be in the order of their times. Those at the same time are done in this order.
	Steps []Step
}

// A Step is one fault of a Plan. [At] makes it.
type Step struct {
	at     time.Duration
	verb   verb
	groups [][]string // of hosts; one group is a plain list
	links  Links
	rules  Rules
	pause  Delay
	length time.Duration // 0 is until something else ends it
}

// At is when a step is due, from the start of the plan. Its methods make steps that do what the methods of [Net] and
// [Link] with the same names do.
type At time.Duration

// For has the step end after d: rules become what they were, what was held or cut opens, a partition heals, a crashed host
// starts again. When several steps do the same to a link, or a host, it is as before when the last of them ends.
// Heal, Release, Mend, Clear, Reset, Sever and Start are over at once, and take no For.
func (s Step) For(d time.Duration) Step {
	s.length = d
	return s
}

// All sets the rules of all links that have none of their own.
func (t At) All(r Rules) Step { return Step{at: time.Duration(t), verb: verbAll, rules: r} }

// Link sets the rules of links.
func (t At) Link(l Links, r Rules) Step {
	s := t.toLinks(verbLink, l)
	s.rules = r
	return s
}

// Hold keeps everything on the links from arriving.
func (t At) Hold(l Links) Step { return t.toLinks(verbHold, l) }

// Release ends Hold, also one that has a For and is not over.
func (t At) Release(l Links) Step { return t.toLinks(verbRelease, l) }

// Cut keeps everything on the links from arriving; it and Hold know nothing of each other.
func (t At) Cut(l Links) Step { return t.toLinks(verbCut, l) }

// Mend ends Cut, also one that has a For and is not over.
func (t At) Mend(l Links) Step { return t.toLinks(verbMend, l) }

// Reset resets the connections of links.
func (t At) Reset(l Links) Step { return t.toLinks(verbReset, l) }

// Sever has nothing of the present connections arrive any more on the links.
func (t At) Sever(l Links) Step { return t.toLinks(verbSever, l) }

// Clear takes back the rules of the links, the hold and the cut. With the zero Links it does so for all links of the
// network, and takes back the rules of the network as well. Partitions stay.
func (t At) Clear(l Links) Step { return t.toLinks(verbClear, l) }

// Partition keeps hosts of different groups from reaching each other.
func (t At) Partition(groups ...[]string) Step {
	s := Step{at: time.Duration(t), verb: verbPartition}
	for _, g := range groups {
		s.groups = append(s.groups, slices.Clone(g))
	}
	return s
}

// OneWay keeps what the hosts in from send from arriving at those in to.
func (t At) OneWay(from, to []string) Step { return t.toLinks(verbOneWay, Links{From: from, To: to}) }

// Isolate keeps each of the hosts from everybody else.
func (t At) Isolate(hosts ...string) Step { return t.toHosts(verbIsolate, hosts) }

// Halves parts the hosts in two halves.
func (t At) Halves(hosts ...string) Step { return t.toHosts(verbHalves, hosts) }

// Bridge parts the hosts in two halves, and the one in the middle reaches both.
func (t At) Bridge(hosts ...string) Step { return t.toHosts(verbBridge, hosts) }

// Ring leaves each host nobody but the one before and the one after it.
func (t At) Ring(hosts ...string) Step { return t.toHosts(verbRing, hosts) }

// Swizzle isolates some of the hosts one after the other, and then heals them one after the other. It ends when all are
// healed, or earlier if it has a For.
func (t At) Swizzle(pause Delay, hosts ...string) Step {
	s := t.toHosts(verbSwizzle, hosts)
	s.pause = pause
	return s
}

// Heal ends all partitions.
func (t At) Heal() Step { return Step{at: time.Duration(t), verb: verbHeal} }

// Crash closes the hosts as a crash does. With a For they start again after that.
func (t At) Crash(hosts ...string) Step { return t.toHosts(verbCrash, hosts) }

// Vanish closes the hosts as a power cut does. With a For they start again after that.
func (t At) Vanish(hosts ...string) Step { return t.toHosts(verbVanish, hosts) }

// Start starts hosts that have crashed without a For, or whose For is not over.
func (t At) Start(hosts ...string) Step { return t.toHosts(verbStart, hosts) }

func (t At) toHosts(v verb, hosts []string) Step {
	return Step{at: time.Duration(t), verb: v, groups: [][]string{slices.Clone(hosts)}}
}

func (t At) toLinks(v verb, l Links) Step {
	l.From, l.To = slices.Clone(l.From), slices.Clone(l.To)
	return Step{at: time.Duration(t), verb: v, links: l}
}

// Links are the links from each host of a list to each of another. That of a host to itself is one of them only if
// there are no others.
type Links struct {
	From, To []string
	Both     bool // also those from To to From
}

// Way returns the link from one host to another.
func Way(from, to string) Links { return Links{From: []string{from}, To: []string{to}} }

// Between returns the links between two hosts, there and back.
func Between(a, b string) Links { return Links{From: []string{a}, To: []string{b}, Both: true} }

// none tells whether they are the zero Links.
func (l Links) none() bool { return len(l.From) == 0 && len(l.To) == 0 && !l.Both }

// of returns the links of a network, each once.
func (l Links) of(n *Net) []*Link {
	var all []*Link
	add := func(from, to string) {
		if from == to && len(l.From)+len(l.To) > 2 {
			return
		}
		if k := n.Link(from, to); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	for _, a := range l.From {
		for _, b := range l.To {
			add(a, b)
			if l.Both {
				add(b, a)
			}
		}
	}
	return all
}
