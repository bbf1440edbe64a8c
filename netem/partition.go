package netem

import "slices"

// A Partition keeps some hosts from reaching others until it is healed. Connections stay: what is sent meanwhile
// arrives then, and dials wait. Partitions add up: a link is open when the last that cuts it is healed. Hosts that are
// made later are in it, too, by their names.
type Partition struct {
	net  *Net
	cuts func(from, to string) bool // constant, and so is what it looks at
}

// Partition keeps hosts of different groups from reaching each other. A host that is in several groups reaches all of
// them, and one that is in none reaches everybody.
func (n *Net) Partition(groups ...[]string) *Partition {
	in := make(map[string][]int)
	for i, group := range groups {
		for _, host := range group {
			in[host] = append(in[host], i)
		}
	}
	return n.split(func(from, to string) bool {
		a, b := in[from], in[to]
		return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(i int) bool { return slices.Contains(b, i) })
	})
}

// OneWay keeps what the hosts in from send from arriving at those in to, and not the other way round. Data has no
// answer on such a connection, though acknowledgements are not modelled: who sends does not notice.
func (n *Net) OneWay(from, to []string) *Partition {
	senders, receivers := places(from), places(to)
	return n.split(func(f, t string) bool { return f != t && has(senders, f) && has(receivers, t) })
}

// Isolate keeps each of the hosts from everybody else, and everybody from it.
func (n *Net) Isolate(hosts ...string) *Partition {
	alone := places(hosts)
	return n.split(func(from, to string) bool { return from != to && (has(alone, from) || has(alone, to)) })
}

// Halves parts the hosts in two: the first half, which is the smaller one if their number is odd, and the rest.
func (n *Net) Halves(hosts ...string) *Partition {
	k := len(hosts) / 2
	return n.Partition(hosts[:k], hosts[k:])
}

// Bridge parts the hosts in two halves, and the one in the middle reaches both.
func (n *Net) Bridge(hosts ...string) *Partition {
	k := len(hosts) / 2
	return n.Partition(hosts[:min(k+1, len(hosts))], hosts[k:])
}

// Ring leaves each host nobody but the one before and the one after it; those of the first are the second and the
// last.
func (n *Net) Ring(hosts ...string) *Partition {
	place := places(hosts)
	return n.split(func(from, to string) bool {
		if !has(place, from) || !has(place, to) {
			return false
		}
		d := (place[from] - place[to] + len(hosts)) % len(hosts)
		return d != 0 && d != 1 && d != len(hosts)-1
	})
}

// places returns where each host is first in a list.
func places(hosts []string) map[string]int {
	at := make(map[string]int, len(hosts))
	for i, h := range slices.Backward(hosts) {
		at[h] = i
	}
	return at
}

func has(places map[string]int, host string) bool {
	_, ok := places[host]
	return ok
}

func (n *Net) split(cuts func(from, to string) bool) *Partition {
	p := &Partition{net: n, cuts: cuts}
	n.shaping.Store(true)
	n.mu.Lock()
	n.splits = append(n.splits, p)
	links := n.thoseLocked(p.isOn)
	n.mu.Unlock()
	n.adopt(links)
	for _, l := range links {
		l.change(func() { l.parts++ })
	}
	return p
}

// Heal ends the partition. What was held arrives, in order. A second Heal does nothing.
func (p *Partition) Heal() {
	n := p.net
	n.mu.Lock()
	i := slices.Index(n.splits, p)
	if i < 0 {
		n.mu.Unlock()
		return
	}
	n.splits = slices.Delete(n.splits, i, i+1)
	links := n.thoseLocked(p.isOn)
	n.mu.Unlock()
	for _, l := range links {
		l.change(func() { l.parts-- })
	}
}

func (p *Partition) isOn(l *Link) bool { return p.cuts(l.from, l.to) }

// Heal ends all partitions.
func (n *Net) Heal() {
	n.mu.Lock()
	splits := slices.Clone(n.splits)
	n.mu.Unlock()
	for _, p := range splits {
		p.Heal()
	}
}
