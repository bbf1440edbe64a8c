package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
)

// claims makes claims of links, each of which both ends claim, and nodes that are relays.
func claims(links ...[3]uint64) []Claim {
	by := make(map[uint64]*Claim)
	for _, l := range links {
		for _, ends := range [][2]uint64{{l[0], l[1]}, {l[1], l[0]}} {
			c := by[ends[0]]
			if c == nil {
				c = &Claim{ID: ends[0], Relay: true}
				by[c.ID] = c
			}
			c.Links = append(c.Links, Link{ends[1], uint32(l[2])})
		}
	}
	var all []Claim
	for _, c := range by {
		slices.SortFunc(c.Links, func(a, b Link) int { return int(a.Peer) - int(b.Peer) })
		all = append(all, *c)
	}
	return all
}

// change changes the claim of a node.
func change(all []Claim, id uint64, f func(*Claim)) []Claim {
	i := slices.IndexFunc(all, func(c Claim) bool { return c.ID == id })
	f(&all[i])
	return all
}

func TestPaths(t *testing.T) {
	square := func() []Claim {
		return claims([3]uint64{1, 2, 100}, [3]uint64{2, 3, 100}, [3]uint64{1, 4, 500}, [3]uint64{4, 3, 500})
	}
	for _, tt := range []struct {
		name  string
		all   []Claim
		not   Without
		want  []uint64
		costs uint64
	}{
		{"cheapest", square(), Without{}, []uint64{1, 2, 3}, 100 + 100 + relayCost},
		{"no relay", change(square(), 2, func(c *Claim) { c.Relay = false }), Without{}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"draining relay", change(square(), 2, func(c *Claim) { c.Draining = true }), Without{}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"refusing node", square(), Without{Nodes: map[uint64]bool{2: true, 3: true}}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"refusing link", square(), Without{Links: map[[2]uint64]bool{{3, 2}: true}}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"claimed by one end", change(square(), 2, func(c *Claim) { c.Links = nil }), Without{}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"the higher cost counts", change(square(), 2, func(c *Claim) { c.Links[1].Cost = 5000 }), Without{}, []uint64{1, 4, 3}, 1000 + relayCost},
		{"a relay is not free", claims([3]uint64{1, 2, 10}, [3]uint64{2, 3, 10}, [3]uint64{1, 3, 200}), Without{}, []uint64{1, 3}, 200},
		{"only a draining relay", change(claims([3]uint64{1, 2, 10}, [3]uint64{2, 3, 10}), 2, func(c *Claim) { c.Draining = true }), Without{},
			[]uint64{1, 2, 3}, 20 + relayCost + drainingCost},
		{"none", claims([3]uint64{1, 2, 10}, [3]uint64{3, 4, 10}), Without{}, nil, 0},
	} {
		p, ok := NewGraph(tt.all).From(1, tt.not).To(3)
		if ok != (tt.want != nil) || !slices.Equal(p.Nodes, tt.want) || p.Cost != tt.costs {
			t.Errorf("%s: got %v for %d, want %v for %d", tt.name, p.Nodes, p.Cost, tt.want, tt.costs)
		}
	}
	g := NewGraph(square())
	for _, id := range []uint64{1, 99} {
		p, ok := g.From(id, Without{}).To(id)
		if ok != (id == 1) || ok && len(p.Nodes) != 1 {
			t.Errorf("from %d to itself: %v, %v", id, p, ok)
		}
	}
}

// A path has at most MaxHops links, though a longer one be cheaper.
func TestMaxHops(t *testing.T) {
	var line [][3]uint64
	for i := uint64(1); i <= MaxHops+1; i++ {
		line = append(line, [3]uint64{i, i + 1, 1})
	}
	tree := NewGraph(claims(line...)).From(1, Without{})
	if p, ok := tree.To(MaxHops + 1); !ok || len(p.Nodes) != MaxHops+1 {
		t.Errorf("%d links: %v", MaxHops, p)
	}
	if p, ok := tree.To(MaxHops + 2); ok {
		t.Errorf("%d links: %v, want none", MaxHops+1, p)
	}
	tree = NewGraph(claims(append(line, [3]uint64{1, MaxHops + 2, 1 << 30})...)).From(1, Without{})
	if p, ok := tree.To(MaxHops + 2); !ok || len(p.Nodes) != 2 {
		t.Errorf("with a short cut: %v, %v", p, ok)
	}
}

func TestBetter(t *testing.T) {
	g := NewGraph(claims([3]uint64{1, 2, 10_000}, [3]uint64{1, 3, 1000}, [3]uint64{3, 2, 7000}))
	via := []uint64{1, 3, 2}
	for _, tt := range []struct {
		name string
		used []uint64
		cost uint64
		want bool
	}{
		{"a fifth and more", []uint64{1, 2}, 7000, true},
		{"not worth it", []uint64{1, 2}, 7001, false},
		{"equal", via, 8200, false},
		{"broken", []uint64{1, 4, 2}, 1 << 40, true},
		{"no node", nil, 1 << 40, true},
	} {
		if got := g.Better(tt.used, Path{Cost: tt.cost}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if cost, ok := g.Cost(via); !ok || cost != 8200 {
		t.Errorf("cost %d, %v, want 8200", cost, ok)
	}
}

// random makes a graph of so many nodes, with that many links each on average.
func random(r *rand.Rand, n, degree int) []Claim {
	links := make(map[[2]uint64]uint64)
	add := func(a, b int) {
		if a != b {
			links[[2]uint64{uint64(min(a, b) + 1), uint64(max(a, b) + 1)}] = uint64(1 + r.IntN(100_000))
		}
	}
	for i := 1; i < n; i++ {
		add(i, r.IntN(i))
	}
	for range n * (degree - 2) / 2 {
		add(r.IntN(n), r.IntN(n))
	}
	var all [][3]uint64
	for ends, cost := range links {
		all = append(all, [3]uint64{ends[0], ends[1], cost})
	}
	return claims(all...)
}

// The paths found are as cheap as those of a slow and simple search, and Reached finds the nodes that have one.
func TestAgainstModel(t *testing.T) {
	netemtest.Config{RealTime: true}.Run(t, 100, func(t *testing.T, em *netem.Net) {
		r := rand.New(rand.NewPCG(em.Seed(), 0))
		all := random(r, 2+r.IntN(60), 2+r.IntN(4))
		not := Without{Nodes: make(map[uint64]bool), Links: make(map[[2]uint64]bool)}
		for i := range all {
			all[i].Relay = r.IntN(4) > 0
			all[i].Draining = r.IntN(10) == 0
			if r.IntN(10) == 0 {
				not.Nodes[all[i].ID] = true
			}
			if l := all[i].Links; r.IntN(10) == 0 {
				not.Links[[2]uint64{all[i].ID, l[r.IntN(len(l))].Peer}] = true
			}
		}
		g := NewGraph(all)
		from := all[r.IntN(len(all))].ID
		want := model(all, from, not)
		tree := g.From(from, not)
		for _, c := range all {
			p, ok := tree.To(c.ID)
			cost, known := want[c.ID]
			if ok != known || ok && p.Cost != cost {
				t.Errorf("from %d to %d: %v, %v, want %d, %v", from, c.ID, p, ok, cost, known)
			}
			if priced, valid := g.Cost(p.Nodes); ok && (!valid || priced != p.Cost) {
				t.Errorf("%v costs %d, %v", p, priced, valid)
			}
		}
		reached := make(map[uint64]bool)
		g.Reached(from, func(id uint64) { reached[id] = true })
		if free := model(all, from, Without{}); len(free) != len(reached) {
			t.Errorf("%d reached, want %d", len(reached), len(free))
		}
	})
}

// model finds the cheapest paths by trying all links again and again.
func model(all []Claim, from uint64, not Without) map[uint64]uint64 {
	by := make(map[uint64]Claim)
	for _, c := range all {
		by[c.ID] = c
	}
	cost := map[uint64]uint64{from: 0}
	for range MaxHops {
		next := make(map[uint64]uint64)
		for id, sum := range cost {
			next[id] = min(sum, valueOr(next, id, sum))
			c := by[id]
			if id != from {
				if !c.Relay || not.Nodes[id] {
					continue
				}
				sum += relayCost
				if c.Draining {
					sum += drainingCost
				}
			}
			for _, l := range c.Links {
				if !not.Links[[2]uint64{id, l.Peer}] && !not.Links[[2]uint64{l.Peer, id}] {
					next[l.Peer] = min(sum+uint64(l.Cost), valueOr(next, l.Peer, 1<<63))
				}
			}
		}
		cost = next
	}
	return cost
}

func valueOr(m map[uint64]uint64, k, or uint64) uint64 {
	if v, ok := m[k]; ok {
		return v
	}
	return or
}

func TestMeter(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	var m Meter
	if m.Cost() != 0 || m.Sample(10*time.Millisecond, at) != 10240 {
		t.Errorf("first sample: %d, want 10240", m.Cost())
	}
	for i := range 1000 { // it trembles
		at = at.Add(time.Second)
		if got := m.Sample(time.Duration(8+i%5)*time.Millisecond, at); got != 10240 {
			t.Fatalf("after %d samples: %d, want 10240", i, got)
		}
	}
	changes, last := 0, m.Cost()
	for i := range 600 { // a minute here, a minute there
		at = at.Add(time.Second)
		got := m.Sample([]time.Duration{10, 100}[i/60%2]*time.Millisecond, at)
		if got != last {
			changes++
		}
		last = got
	}
	if changes < 9 || changes > 40 {
		t.Errorf("%d changes in ten minutes", changes)
	}
	for range 100 {
		at = at.Add(time.Second)
		m.Sample(200*time.Microsecond, at)
	}
	if got := m.Cost(); got > 300 {
		t.Errorf("with round trips of 200 µs: %d", got)
	}
	if got := new(Meter).Sample(-1, at); got != 1 {
		t.Errorf("no time at all: %d, want 1", got)
	}
}

func TestQuantise(t *testing.T) {
	last := uint32(0)
	for us := time.Duration(1); us < 1<<40; us += us/100 + 1 {
		got := quantise(us * time.Microsecond)
		if got < last {
			t.Fatalf("%d µs: %d, less than %d", us, got, last)
		}
		if d := float64(got) / float64(us); us < 1<<31 && (d < 0.85 || d > 1.15) {
			t.Fatalf("%d µs: %d", us, got)
		}
		last = got
	}
}

func BenchmarkGraph(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		all := random(rand.New(rand.NewPCG(1, 1)), n, 10)
		g := NewGraph(all)
		b.Run(fmt.Sprint("new/", n), func(b *testing.B) {
			for b.Loop() {
				NewGraph(all)
			}
		})
		b.Run(fmt.Sprint("reached/", n), func(b *testing.B) {
			for b.Loop() {
				g.Reached(1, func(uint64) {})
			}
		})
		b.Run(fmt.Sprint("from/", n), func(b *testing.B) {
			for b.Loop() {
				g.From(1, Without{})
			}
		})
	}
}
