package netem

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Faults are kinds of faults, for [RandomPlan]. They are added with |.
type Faults uint8

const (
	FaultPartition Faults = 1 << iota // partitions of all shapes, both ways
	FaultOneWay                       // partitions in one direction
	FaultSlow                         // latency and some loss on all links; single ones are slow, lossy or narrow
	FaultReset                        // connections are reset
	FaultCrash                        // hosts crash, or vanish, and start again

	// FaultNetwork is everything that needs no RunConfig.
	FaultNetwork = FaultPartition | FaultOneWay | FaultSlow | FaultReset
	// FaultAll is everything.
	FaultAll = FaultNetwork | FaultCrash
)

// RandomPlan returns a plan of that length, with faults of those kinds at random times. It is a function of what it is given,
// so a test that prints the seed can be repeated:
//
//	plan := netem.RandomPlan(seed, []string{"a", "b", "c", "d", "e"}, 5*time.Minute, netem.FaultAll)
//	err := plan.Run(ctx, em, &netem.RunConfig{Host: subnet.Host, Start: startServer, Trace: trace})
//
// There are about 20 faults, each a twentieth to an eighth of the time long. They may overlap, though no more hosts are down by
// crashes at once than a minority, or one. After nine tenths of the time all are over, but for what FaultSlow does to all
// links, which is little: the rest is for the program to recover in. In the end the network is as before.
func RandomPlan(seed uint64, hosts []string, length time.Duration, what Faults) *Plan {
	g := &generator{
		rand: rand.New(rand.NewPCG(seed, 0)), hosts: slices.Clone(hosts), length: length,
		plan: &Plan{Hosts: slices.Clone(hosts)},
	}
	kinds := g.kinds(what)
	if what&FaultSlow != 0 {
		g.add(At(0).All(Rules{Latency: g.latency(20 * time.Millisecond), Loss: g.percent(2)}).For(length))
	}
	at := g.length / 40
	for len(kinds) > 0 {
		at += g.between(g.length/80, g.length/14)
		d := g.between(g.length/20, g.length/8)
		if at+d > length/10*9 {
			break
		}
		kinds[g.rand.IntN(len(kinds))](At(at), d)
	}
	g.add(At(length).Heal()) // there is nothing left to heal, but it makes the plan that long
	return g.plan
}

// generator makes a random plan.
type generator struct {
	rand   *rand.Rand
	hosts  []string
	length time.Duration
	plan   *Plan
	down   []downtime
}

type downtime struct {
	host string
	end  time.Duration
}

func (g *generator) add(s ...Step) { g.plan.Steps = append(g.plan.Steps, s...) }

// kinds returns what makes a fault of each kind. What takes two hosts is not there for one.
func (g *generator) kinds(what Faults) (all []func(At, time.Duration)) {
	for _, k := range []struct {
		fault Faults
		hosts int
		make  func(At, time.Duration)
	}{
		{FaultPartition, 2, g.partition},
		{FaultOneWay, 2, g.oneWay},
		{FaultSlow, 2, g.slow},
		{FaultReset, 2, g.reset},
		{FaultCrash, 1, g.crash},
	} {
		if what&k.fault != 0 && len(g.hosts) >= k.hosts {
			all = append(all, k.make)
		}
	}
	return all
}

func (g *generator) partition(t At, d time.Duration) {
	h := g.some(len(g.hosts))
	shapes := []Step{t.Isolate(h[0]), t.Halves(h...), t.Swizzle(Constant(g.round(d/time.Duration(2*len(h)))), h...)}
	if len(h) > 2 {
		third := 1 + g.rand.IntN(len(h)-2)
		shapes = append(shapes, t.Bridge(h...), t.Partition(h[:third], h[third:third+1], h[third+1:]))
	}
	if len(h) > 3 {
		shapes = append(shapes, t.Ring(h...))
	}
	g.add(shapes[g.rand.IntN(len(shapes))].For(d))
}

func (g *generator) oneWay(t At, d time.Duration) {
	h := g.some(len(g.hosts))
	k := 1 + g.rand.IntN(len(h)-1)
	g.add(t.OneWay(h[:k], h[k:]).For(d))
}

func (g *generator) slow(t At, d time.Duration) {
	h := g.some(2)
	r := []Rules{
		{Latency: g.latency(500 * time.Millisecond)},
		{Latency: g.latency(20 * time.Millisecond), Loss: g.percent(40)},
		{Latency: g.latency(20 * time.Millisecond), Bandwidth: 1 << (10 + g.rand.IntN(11))},
	}[g.rand.IntN(3)]
	g.add(t.Link(Links{From: h[:1], To: h[1:], Both: g.rand.IntN(2) == 0}, r).For(d))
}

func (g *generator) reset(t At, _ time.Duration) {
	h := g.some(2)
	g.add(t.Reset(Between(h[0], h[1])))
}

// crash takes a host down, unless too many are.
func (g *generator) crash(t At, d time.Duration) {
	g.down = slices.DeleteFunc(g.down, func(x downtime) bool { return x.end <= time.Duration(t) })
	host := g.some(1)[0]
	same := func(x downtime) bool { return x.host == host }
	if len(g.down) >= max(1, (len(g.hosts)-1)/2) || slices.ContainsFunc(g.down, same) {
		return
	}
	g.down = append(g.down, downtime{host, time.Duration(t) + d})
	s := t.Crash(host)
	if g.rand.IntN(3) == 0 {
		s = t.Vanish(host)
	}
	g.add(s.For(d))
}

// some returns n of the hosts, in random order.
func (g *generator) some(n int) []string {
	h := slices.Clone(g.hosts)
	g.rand.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
	return h[:n]
}

// between returns a time from least to below most, rounded for who reads the plan.
func (g *generator) between(least, most time.Duration) time.Duration {
	return g.round(least + time.Duration(g.rand.Int64N(int64(max(most-least, 1)))))
}

func (g *generator) round(d time.Duration) time.Duration {
	unit := time.Millisecond
	if g.length < 10*time.Second {
		unit = time.Microsecond
	}
	return max(d.Round(unit), 1)
}

// latency returns a distribution whose mean is about most at most. It is never constant: then things would happen at one
// instant, in no order.
func (g *generator) latency(most time.Duration) Delay {
	d := (most/10 + time.Duration(g.rand.Int64N(int64(most)))).Round(time.Millisecond)
	return []Delay{Uniform(d/2, d), Normal(d, d/4), Exponential(d), Pareto(d/2, 2)}[g.rand.IntN(4)]
}

// percent returns a share of 1 to most percent.
func (g *generator) percent(most int) float64 { return float64(1+g.rand.IntN(most)) / 100 }
