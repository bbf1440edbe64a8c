package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// A fault is done to a cluster, lasts a while, and is then undone. These are about who leads when they happen, or about
// a majority, which a netem.Plan does not know: it names its hosts beforehand, and leaves a majority up.
type fault struct {
	name string
	do   func(c *cluster) (what string, undo func())
}

var faults = []fault{
	{"leader alone", func(c *cluster) (string, func()) { return c.part(c.leaderFirst(), 1) }},
	{"leader in the minority", func(c *cluster) (string, func()) { return c.part(c.leaderFirst(), 2) }},
	{"leader crashes", func(c *cluster) (string, func()) { return c.crashes(c.leaderFirst()[:1], false) }},
	{"leader vanishes", func(c *cluster) (string, func()) { return c.crashes(c.leaderFirst()[:1], true) }},
	{"leader is not heard", func(c *cluster) (string, func()) {
		all := c.leaderFirst()
		return "nobody hears " + all[0], c.em.OneWay(all[:1], all[1:]).Heal
	}},
	{"leader is deaf", func(c *cluster) (string, func()) {
		all := c.leaderFirst()
		return all[0] + " hears nobody", c.em.OneWay(all[1:], all[:1]).Heal
	}},
	{"leader and one more vanish", func(c *cluster) (string, func()) { return c.crashes(c.leaderFirst()[:2], true) }},
	{"three crash", func(c *cluster) (string, func()) { return c.crashes(c.shuffled()[:3], false) }},
	{"all crash", func(c *cluster) (string, func()) { return c.crashes(c.shuffled(), c.rand.IntN(2) == 0) }},
	{"bad weather", func(c *cluster) (string, func()) { return c.weather() }},
}

// suffer has faults happen, and returns when nothing is left of them. First come some of the above, each alone:
// always the leader loses the others once, and crashes once. Then comes a plan of netem's, in which they overlap.
func (c *cluster) suffer(seed uint64) error {
	c.await(patience, func() bool { _, term := c.model.leader(); return term > 0 })
	own := []fault{faults[0], faults[2], faults[c.rand.IntN(len(faults))], faults[c.rand.IntN(len(faults))]}
	c.rand.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
	for _, f := range own {
		c.rest(0.5, 3)
		what, undo := f.do(c)
		c.model.say("%s: %s", f.name, what)
		c.rest(1, 6)
		undo()
		c.model.say("%s: over", f.name)
	}
	c.rest(0.5, 3)
	plan := netem.RandomPlan(seed, names, 40*c.settings.beat, netem.FaultAll)
	return plan.Run(context.Background(), c.em, &netem.RunConfig{
		Host:  pipenet.AsVirtNet(c.network).Host,
		Start: func(_ context.Context, name string) error { return c.restart(name) },
		Trace: func(_ time.Duration, what string) { c.model.say("%s", what) },
	})
}

// rest waits for some beats.
func (c *cluster) rest(least, most float64) {
	time.Sleep(time.Duration((least + (most-least)*c.rand.Float64()) * float64(c.settings.beat)))
}

// shuffled returns the nodes in any order.
func (c *cluster) shuffled() []string {
	all := slices.Clone(names)
	c.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// leaderFirst returns the nodes, who leads first, and the others in any order.
func (c *cluster) leaderFirst() []string {
	all := c.shuffled()
	leader, _ := c.model.leader()
	i := max(0, slices.Index(all, leader))
	all[0], all[i] = all[i], all[0]
	return all
}

// part keeps the first k nodes from the others. Clients reach all of them.
func (c *cluster) part(all []string, k int) (string, func()) {
	return sides(all, k), c.em.Partition(all[:k], all[k:]).Heal
}

func sides(all []string, k int) string {
	return strings.Join(all[:k], " ") + " | " + strings.Join(all[k:], " ")
}

// weather makes the network slow and lossy.
func (c *cluster) weather() (string, func()) {
	beat := c.settings.beat
	r := netem.Rules{
		Latency: netem.Exponential(beat / time.Duration(5+c.rand.IntN(50))), Loss: 0.2 * c.rand.Float64(), Retransmit: beat / 5,
	}
	c.setAll(r)
	return fmt.Sprintf("latency %v, loss %.0f %%", r.Latency, 100*r.Loss), func() { c.setAll(calm(beat)) }
}

func (c *cluster) setAll(r netem.Rules) {
	if err := c.em.SetAll(r); err != nil {
		c.model.wrong("%v", err)
	}
}

// crashes crashes nodes, and starts them again.
func (c *cluster) crashes(which []string, silent bool) (string, func()) {
	for _, name := range which {
		c.crash(name, silent)
	}
	return strings.Join(which, ", "), func() {
		for _, name := range which {
			if err := c.restart(name); err != nil {
				c.model.wrong("cannot be started again: %v", err)
			}
		}
	}
}
