package route

import (
	"cmp"
	"container/heap"
	"slices"
)

// A Path is a way through the mesh: the nodes from the first to the last, both included.
type Path struct {
	Nodes []uint64
	Cost  uint64 // microseconds: the links', and some for each relay
}

// Without says what a path must not use: what has just refused. The zero value forbids nothing.
type Without struct {
	Nodes map[uint64]bool    // in the middle; a path may begin and end there
	Links map[[2]uint64]bool // in either direction
}

func (w Without) link(a, b uint64) bool {
	return len(w.Links) > 0 && (w.Links[[2]uint64{a, b}] || w.Links[[2]uint64{b, a}])
}

// A Tree is the best paths from one node to all others.
type Tree struct {
	g    *Graph
	from int32
	way  []step // by a node's index: how to get there
	few  []step // the same with the fewest links, for those whose best path would have too many; nil if there is none such
}

// step is the last link of a path.
type step struct {
	cost uint64
	prev int32 // -1: there is no path
	hops int32
}

const nowhere = -1

// From returns the best paths from a node: the cheapest, of equal ones that with the fewest links; if that has more than MaxHops, the
// one with the fewest. Those in the middle are relays.
func (g *Graph) From(id uint64, not Without) *Tree {
	t := &Tree{g: g, from: nowhere}
	from, known := g.index(id)
	if !known {
		return t
	}
	t.from = from
	t.way = g.cheapest(from, not)
	if slices.ContainsFunc(t.way, func(s step) bool { return s.hops > MaxHops }) {
		t.few = g.nearest(from, not)
	}
	return t
}

// Reached calls found for the nodes to which there is a path from a node, in the order of their ids: the same as in From's tree,
// for less.
func (g *Graph) Reached(id uint64, found func(id uint64)) {
	from, known := g.index(id)
	if !known {
		return
	}
	for i, s := range g.nearest(from, Without{}) {
		if s.prev != nowhere {
			found(g.nodes[i].id)
		}
	}
}

// passes tells whether a path may go on from a node that it has come to.
func (g *Graph) passes(i, from int32, not Without) bool {
	return i == from || g.nodes[i].relay && !not.Nodes[g.nodes[i].id]
}

func (g *Graph) unreached(from int32) []step {
	way := make([]step, len(g.nodes))
	for i := range way {
		way[i].prev = nowhere
	}
	way[from].prev = from
	return way
}

// nearest finds the paths with the fewest links, MaxHops at most.
func (g *Graph) nearest(from int32, not Without) []step {
	way := g.unreached(from)
	queue := append(make([]int32, 0, len(g.nodes)), from)
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		if way[i].hops == MaxHops || !g.passes(i, from, not) {
			continue
		}
		for _, e := range g.edges(i) {
			if way[e.to].prev == nowhere && !not.link(g.nodes[i].id, g.nodes[e.to].id) {
				way[e.to] = step{g.through(way[i].cost, i, from, e), i, way[i].hops + 1}
				queue = append(queue, e.to)
			}
		}
	}
	return way
}

// through returns what it costs to come to e's end by node i, where one is for cost.
func (g *Graph) through(cost uint64, i, from int32, e edge) uint64 {
	if i != from {
		cost += g.nodes[i].passing()
	}
	return cost + uint64(e.cost)
}

// cheapest finds the cheapest paths, by Dijkstra's algorithm. They may have more than MaxHops links.
func (g *Graph) cheapest(from int32, not Without) []step {
	way := g.unreached(from)
	f := front{{0, from, 0}}
	for len(f) > 0 {
		at := heap.Pop(&f).(step)
		i := at.prev // here: the node itself
		if at.cost != way[i].cost || at.hops != way[i].hops || !g.passes(i, from, not) {
			continue
		}
		for _, e := range g.edges(i) {
			s := step{g.through(at.cost, i, from, e), i, at.hops + 1}
			old := way[e.to]
			if old.prev != nowhere && cmp.Or(cmp.Compare(s.cost, old.cost), cmp.Compare(s.hops, old.hops)) >= 0 ||
				not.link(g.nodes[i].id, g.nodes[e.to].id) {
				continue
			}
			way[e.to] = s
			heap.Push(&f, step{s.cost, e.to, s.hops})
		}
	}
	return way
}

// front is a heap of nodes to go on from: the cheapest first. In it a step's prev is the node itself.
type front []step

func (f front) Len() int { return len(f) }
func (f front) Less(i, j int) bool {
	a, b := f[i], f[j]
	return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.hops, b.hops), cmp.Compare(a.prev, b.prev)) < 0
}
func (f front) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *front) Push(x any)   { *f = append(*f, x.(step)) }
func (f *front) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

// To returns the path to a node; ok is false if there is none. The path to the node where the tree begins is that node.
func (t *Tree) To(id uint64) (p Path, ok bool) {
	way, at, ok := t.find(id)
	if !ok {
		return Path{}, false
	}
	p = Path{Nodes: make([]uint64, way[at].hops+1), Cost: way[at].cost}
	for i := len(p.Nodes) - 1; i >= 0; i-- {
		p.Nodes[i] = t.g.nodes[at].id
		at = way[at].prev
	}
	return p, true
}

// Cost returns what the path to a node costs. It allocates nothing.
func (t *Tree) Cost(id uint64) (cost uint64, ok bool) {
	way, at, ok := t.find(id)
	if !ok {
		return 0, false
	}
	return way[at].cost, true
}

// find returns where the path to a node is.
func (t *Tree) find(id uint64) (way []step, at int32, ok bool) {
	at, known := t.g.index(id)
	if !known || t.from == nowhere || t.way[at].prev == nowhere {
		return nil, 0, false
	}
	if t.way[at].hops <= MaxHops {
		return t.way, at, true
	}
	return t.few, at, t.few != nil && t.few[at].prev != nowhere
}

// Cost returns what a path costs now; ok is false if it leads nowhere any more: a link or a node has gone, or is no relay.
func (g *Graph) Cost(nodes []uint64) (cost uint64, ok bool) {
	if len(nodes) == 0 || len(nodes) > MaxHops+1 {
		return 0, false
	}
	from, known := g.index(nodes[0])
	at := from
	for _, id := range nodes[1:] {
		to, there := g.index(id)
		if !known || !there || !g.passes(at, from, Without{}) {
			return 0, false
		}
		e, linked := g.edge(at, to)
		if !linked {
			return 0, false
		}
		cost, at = g.through(cost, at, from, e), to
	}
	return cost, known
}

// Better tells whether it is worth while to move from a path in use to another: the one in use leads nowhere any more, or the
// other is cheaper by a fifth and a millisecond, or spares a relay that drains.
func (g *Graph) Better(used []uint64, other Path) bool {
	cost, ok := g.Cost(used)
	return !ok || other.Cost+cost/5+1000 <= cost
}
