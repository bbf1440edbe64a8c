package virtnet

import (
	"math/rand/v2"
	"testing"
)

type nullSocket struct{ _ byte }

func (*nullSocket) shutdown() {}

// TestPortsModel compares the table with a map and a linear scan, over random operations at low and at high ports.
func TestPortsModel(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var p ports
		model := map[int]socket{}
		lowest := func() int {
			for i := 1; ; i++ {
				if model[i] == nil {
					return i
				}
			}
		}
		anyPort := func() int { // low, in the middle, or at the top
			switch rnd.IntN(8) {
			case 0:
				return maxPort - rnd.IntN(40)
			case 1:
				return 1<<20 + rnd.IntN(2000)
			}
			return 1 + rnd.IntN(3000)
		}
		for step := range 6_000 {
			s := new(nullSocket)
			switch op := rnd.IntN(10); {
			case op < 5:
				want := lowest()
				if got := p.put(s, 0); got != want {
					t.Fatalf("seed %d step %d: lowest free port: got %d, want %d", seed, step, got, want)
				}
				model[want] = s
			case op < 7:
				port := anyPort()
				got, want := p.put(s, port), port
				if model[port] != nil {
					want = 0
				} else {
					model[port] = s
				}
				if got != want {
					t.Fatalf("seed %d step %d: put at %d: got %d, want %d", seed, step, port, got, want)
				}
			default:
				for port, old := range model {
					p.remove(s, port) // somebody else's socket: no effect
					if rnd.IntN(2) == 0 {
						p.remove(old, port)
						delete(model, port)
					}
					if rnd.IntN(3) != 0 {
						break
					}
				}
			}
			port := anyPort()
			if got, want := p.get(port), model[port]; got != want {
				t.Fatalf("seed %d step %d: get %d: got %v, want %v", seed, step, port, got, want)
			}
		}
		if got := len(p.all()); got != len(model) {
			t.Fatalf("seed %d: all: got %d sockets, want %d", seed, got, len(model))
		}
		for port, s := range model {
			p.remove(s, port)
		}
		left := len(p.pages) - 1 // one page stays
		for _, level := range p.full {
			left += len(level)
		}
		if left != 0 {
			t.Errorf("seed %d: %d pages and words are left of an empty table", seed, left)
		}
	}
}

// TestPortsFillsUp goes past the points where the tree of full pages gets a level more.
func TestPortsFillsUp(t *testing.T) {
	var p ports
	s := new(nullSocket)
	const n = 64*64*pageSize + 100
	for want := 1; want <= n; want++ {
		if got := p.put(s, 0); got != want {
			t.Fatalf("got port %d, want %d", got, want)
		}
	}
	for _, port := range []int{n, 1, 64 * pageSize, 64*64*pageSize + 1, 12345} {
		p.remove(s, port)
		if got := p.put(s, 0); got != port {
			t.Errorf("after port %d was freed: got %d", port, got)
		}
	}
}

func BenchmarkPorts(b *testing.B) {
	for _, open := range []struct {
		name string
		n    int
	}{{"0", 0}, {"100k", 100_000}} {
		b.Run(open.name, func(b *testing.B) {
			var p ports
			s := new(nullSocket)
			for range open.n {
				p.put(s, 0)
			}
			for b.Loop() {
				p.remove(s, p.put(s, 0))
			}
		})
	}
}
