// Package route finds the paths through a mesh: which links there are by what the nodes claim, the cheapest path over relays, and
// what a link costs by its round trips.
//
// Nothing in it waits, and nothing knows the time. A Graph and a Tree do not change once they are made, so any goroutine may use them.
package route

import (
	"cmp"
	"slices"
)

// MaxHops is how many links a path has at most.
const MaxHops = 32

// A Link is what a node claims of one of its neighbours.
type Link struct {
	Peer uint64
	Cost uint32 // microseconds, as a Meter tells them
}

// A Claim is what a node says of itself.
type Claim struct {
	ID       uint64
	Relay    bool   // it passes on what is for others
	Draining bool   // it would rather not
	Links    []Link // by Peer, each once
}

// edge is a link that both ends claim.
type edge struct {
	to   int32
	cost uint32
}

// vertex is a node with its edges, which are all[first:end] of the graph.
type vertex struct {
	id         uint64
	first, end int32
	relay      bool
	draining   bool
}

// A Graph is the nodes of a mesh with the links that count: those that both ends claim, at the higher of the two costs. So nobody
// makes a link cheaper than its neighbour has measured it.
type Graph struct {
	nodes []vertex // by id
	all   []edge   // those of a node by the other's index
}

// NewGraph makes a graph of what nodes claim. It sorts the claims; each node has one.
func NewGraph(claims []Claim) *Graph {
	slices.SortFunc(claims, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	index := make(map[uint64]int32, len(claims))
	links := 0
	for i, c := range claims {
		index[c.ID] = int32(i)
		links += len(c.Links)
	}
	g := &Graph{nodes: make([]vertex, len(claims)), all: make([]edge, 0, links)}
	for i, c := range claims {
		v := vertex{id: c.ID, relay: c.Relay, draining: c.Draining, first: int32(len(g.all))}
		for _, l := range c.Links {
			j, known := index[l.Peer]
			if !known || j == int32(i) {
				continue
			}
			if back, both := slices.BinarySearchFunc(claims[j].Links, c.ID, comparePeer); both {
				g.all = append(g.all, edge{j, max(l.Cost, claims[j].Links[back].Cost)})
			}
		}
		v.end = int32(len(g.all))
		g.nodes[i] = v
	}
	return g
}

func comparePeer(l Link, peer uint64) int { return cmp.Compare(l.Peer, peer) }

// Len returns how many nodes there are, linked or not.
func (g *Graph) Len() int { return len(g.nodes) }

func (g *Graph) edges(i int32) []edge { return g.all[g.nodes[i].first:g.nodes[i].end] }

func (g *Graph) index(id uint64) (int32, bool) {
	i, found := slices.BinarySearchFunc(g.nodes, id, func(v vertex, id uint64) int { return cmp.Compare(v.id, id) })
	return int32(i), found
}

// edge returns the link from one node to another.
func (g *Graph) edge(from, to int32) (edge, bool) {
	edges := g.edges(from)
	i, found := slices.BinarySearchFunc(edges, to, func(e edge, to int32) int { return cmp.Compare(e.to, to) })
	if !found {
		return edge{}, false
	}
	return edges[i], true
}

// What a path costs in its middle, apart from its links, in microseconds.
const (
	relayCost    = 200     // handing on takes time, and somebody's processor
	drainingCost = 1 << 36 // dearer than any path without
)

func (v vertex) passing() uint64 {
	if v.draining {
		return relayCost + drainingCost
	}
	return relayCost
}
