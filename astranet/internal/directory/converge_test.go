package directory

import (
	"fmt"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
)

// seeds runs a test with seeds. It has a time of its own, so it needs no bubble.
func seeds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	netemtest.Config{RealTime: true, Parallel: true}.Run(t, n, func(t *testing.T, em *netem.Net) { f(t, em.Seed()) })
}

// jitter has messages take between 1 and 200 ms.
func (s *sim) jitter() {
	s.delay = func() time.Duration { return time.Duration(1+s.rnd.IntN(200)) * time.Millisecond }
}

// Whatever happens, in whatever order: when it is over all nodes that can reach each other know the same, which is what is.
func TestConverges(t *testing.T) {
	seeds(t, 15, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.jitter()
		for range 3 + s.rnd.IntN(20) {
			s.node(Config{})
		}
		s.mesh(2 + s.rnd.IntN(5))
		for range 10 {
			for range s.rnd.IntN(60) {
				s.anything()
				s.run(time.Duration(s.rnd.ExpFloat64() * float64(100*time.Millisecond)))
			}
			for _, n := range s.nodes {
				n.consistent(t)
			}
			s.run(30 * time.Second)
			s.check()
		}
	})
}

// anything does something to the mesh.
func (s *sim) anything() {
	n := s.pick()
	switch p := s.rnd.IntN(100); {
	case p < 30:
		tags, _ := MakeTags([]string{"a", "b", "c"}[:s.rnd.IntN(4)]...)
		svc := Service{Name: fmt.Sprint("s", s.rnd.IntN(20)), Port: uint32(s.rnd.IntN(20)), Weight: uint16(s.rnd.IntN(3)), Tags: tags}
		if err := n.Put(svc); err != nil {
			s.t.Error(err)
		}
	case p < 45:
		if own, _ := n.ownServices(); len(own) > 0 {
			svc := own[s.rnd.IntN(len(own))]
			n.Remove(svc.Name, svc.Port)
		}
	case p < 50:
		for i := range 300 { // several pages
			_ = n.Put(serviceNo(i))
		}
	case p < 53:
		for i := range 300 {
			n.Remove(serviceNo(i).Name, serviceNo(i).Port)
		}
	case p < 65:
		if all := s.neighbours(n); len(all) > 0 {
			s.unlink(n, all[s.rnd.IntN(len(all))])
		}
	case p < 85:
		s.link(n, s.pick())
	case p < 90: // the same id, and another life that knows nothing of this one
		s.restart(n, n.id)
	case p < 93:
		s.restart(n, 0)
	case p < 96:
		s.halve()
	default:
		_ = n.SetAddrs([]string{fmt.Sprint("tcp/", s.rnd.IntN(100))})
	}
}

// restart stops a node, and starts another with that id, or any, and its links and one more.
func (s *sim) restart(n *simNode, id uint64) *simNode {
	old := s.neighbours(n)
	s.stop(n)
	c := n.cfg
	c.ID = id
	m := s.node(c)
	for _, o := range old {
		s.link(m, o)
	}
	s.link(m, s.pick())
	_ = m.Put(Service{Name: "restarted", Port: uint32(s.rnd.IntN(3))})
	return m
}

// halve cuts the mesh in two.
func (s *sim) halve() {
	side := make(map[*simNode]bool)
	for _, n := range s.nodes {
		side[n] = s.rnd.IntN(2) == 0
	}
	for _, n := range s.nodes {
		for _, o := range s.neighbours(n) {
			if side[n] != side[o] {
				s.unlink(n, o)
			}
		}
	}
}

// A change reaches all nodes of a mesh of 100 within 2 s, at 50 ms a link, while links fail and return.
func TestReachesAll(t *testing.T) {
	seeds(t, 2, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		for range 100 {
			s.node(Config{})
		}
		s.mesh(6)
		s.run(10 * time.Second)
		s.check()
		worst := time.Duration(0)
		s.flap(15 * time.Second)
		for i := range 10 {
			n := s.pick()
			_ = n.Put(serviceNo(i))
			took := s.until(2*time.Second, func() bool {
				for _, o := range s.nodes {
					if len(o.Services(serviceNo(i).Name)) != 1 {
						return false
					}
				}
				return true
			})
			worst = max(worst, took)
			s.run(time.Second)
		}
		t.Logf("the slowest of 10 changes reached 100 nodes in %v", worst)
		s.run(time.Minute)
		s.check()
	})
}

// flap has links that are not needed to hold the mesh together fail, four a second, and return after a second.
func (s *sim) flap(long time.Duration) {
	for at := time.Duration(0); at < long; at += 250 * time.Millisecond {
		s.after(at, func() {
			n := s.pick()
			all := s.neighbours(n)
			o := all[s.rnd.IntN(len(all))]
			s.unlink(n, o)
			if len(s.component(n)) == len(s.nodes) {
				s.after(time.Second, func() { s.link(n, o) })
			} else {
				s.link(n, o)
			}
		})
	}
}

// until lets the time pass until something is so, and returns how long that was.
func (s *sim) until(most time.Duration, done func() bool) time.Duration {
	s.t.Helper()
	for begin := s.now; ; s.run(10 * time.Millisecond) {
		if took := s.now - begin; done() {
			return took
		} else if took > most {
			s.t.Fatalf("at %v: not done after %v", s.now, most)
		}
	}
}

// After a partition that was longer than nodes are remembered, both sides are one again.
func TestPartitionHeals(t *testing.T) {
	for _, long := range []time.Duration{time.Minute, 59 * time.Minute, 2 * time.Hour} {
		t.Run(long.String(), func(t *testing.T) {
			seeds(t, 5, func(t *testing.T, seed uint64) {
				s := newSim(t, seed)
				s.jitter()
				for range 20 {
					s.node(Config{})
				}
				s.mesh(4)
				for i := range 50 {
					_ = s.pick().Put(serviceNo(i))
				}
				s.run(time.Minute)
				s.check()
				s.halve()
				s.run(long)
				s.check()
				for range 100 {
					s.anything()
					s.run(100 * time.Millisecond)
				}
				s.mesh(4)
				s.run(time.Minute)
				s.check()
			})
		})
	}
}

// What is gone is forgotten everywhere, and nobody reminds others of it, whatever links come and go.
func TestForgets(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.jitter()
		for range 12 {
			s.node(Config{})
		}
		s.mesh(4)
		s.run(time.Minute)
		dead := make(map[uint64]bool)
		for range 6 {
			n := s.pick()
			dead[n.id] = true
			s.stop(n)
			s.halve()
			s.run(time.Duration(s.rnd.IntN(50)) * time.Minute)
			s.mesh(4)
			s.run(time.Duration(s.rnd.IntN(10)) * time.Minute)
		}
		s.run(time.Hour)
		for range 100 {
			s.link(s.pick(), s.pick())
			s.run(time.Second)
		}
		s.check()
		for _, n := range s.nodes {
			if len(n.nodes) != len(s.nodes) {
				t.Errorf("node %x knows %d nodes, want %d", n.id, len(n.nodes), len(s.nodes))
			}
		}
	})
}

// A mesh at rest is silent.
func TestSilence(t *testing.T) {
	s := newSim(t, 1)
	for range 20 {
		s.node(Config{})
	}
	s.mesh(4)
	s.run(time.Minute)
	before := s.bytes
	s.run(30 * time.Minute)
	if s.bytes != before {
		t.Errorf("%d bytes were sent in half an hour in which nothing happened", s.bytes-before)
	}
}

// named is the Verifier of a mesh where names can be trusted, for nothing.
type named struct{ Unsigned }

func (named) Verify(name, chain string, data, sig []byte) error { return nil }

// Ten thousand lives of a node leave nothing behind: with one id, and with another one each time.
func TestRestarts(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprint("same id=", same), func(t *testing.T) {
			s := newSim(t, 1)
			s.delay = func() time.Duration { return time.Millisecond }
			named := func(name string) Config { return Config{Name: name, Verifier: named{}} }
			for i := range 4 {
				s.node(named(fmt.Sprint("n", i)))
			}
			s.mesh(3)
			n := s.node(named("restless"))
			s.link(n, s.nodes[0])
			for range 10_000 {
				id := n.id
				if !same {
					id = s.rnd.Uint64() | 1
				}
				s.stop(n)
				c := n.cfg
				c.ID = id
				n = s.node(c)
				_ = n.Put(serviceNo(1))
				s.link(n, s.nodes[s.rnd.IntN(4)])
				s.run(time.Duration(s.rnd.IntN(50)) * time.Millisecond)
			}
			s.run(time.Minute)
			s.check()
			for _, o := range s.nodes {
				if len(o.nodes) != 5 {
					t.Errorf("node %x knows %d nodes, want 5", o.id, len(o.nodes))
				}
			}
		})
	}
}
