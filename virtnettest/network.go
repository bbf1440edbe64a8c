package virtnettest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
)

// Network says how to make networks of one kind, and what they can do. New is all that is needed.
type Network struct {
	// New makes a fresh network with nobody on it, and returns n sub-networks of it: such as n processes would
	// have. A kind of network that cannot have so many returns fewer, but at least one; n is 1 or 2. The suite closes them. What their
	// Close does not release is for t.Cleanup.
	New func(t testing.TB, n int) []*virtnet.SubNetwork

	// Bubble says that everything on these networks that waits is a durable block in the sense of
	// testing/synctest: no system calls. Most of the suite then runs in bubbles.
	Bubble bool

	// Backlog is how many dials may wait at a listener of these networks. 0 means 4096, as virtnet.Config has
	// it. A network that has a file descriptor for each of them had better be made with less.
	Backlog int

	// Down makes the engine of a sub-network report that the network under it is gone, by VNetDown(err). If it
	// is nil, that is left out.
	Down func(sub *virtnet.SubNetwork, err error)

	// Seed is where the random walk starts; a failure prints it. 0 means another one every time.
	Seed uint64
}

// TestNetwork runs the conformance suite: each clause with all hosts on one sub-network, and, if the network
// can, with hosts on two.
func TestNetwork(t *testing.T, n Network) {
	t.Run("OneSubNetwork", func(t *testing.T) { testLayout(t, n, 1) })
	t.Run("TwoSubNetworks", func(t *testing.T) {
		probe := n.New(t, 2)
		closeAll(t, probe, false)
		if len(probe) < 2 {
			t.Skip("these networks have one sub-network only")
		}
		testLayout(t, n, 2)
	})
}

func testLayout(t *testing.T, n Network, subs int) {
	for _, c := range clauses() {
		t.Run(c.name, func(t *testing.T) { c.test(t, n, subs) })
	}
}

// A clause is one demand on a network.
type clause struct {
	name string
	why  string // what is demanded and what it means if that fails; printed then
	run  func(w *world)
	// real says that the clause cannot run in a bubble, because it has subtests.
	real bool
}

func clauses() []clause {
	var all []clause
	for _, theme := range [][]clause{
		nameClauses, portClauses, listenClauses, dialClauses, queueClauses, endingClauses(), contextClauses,
		closeClauses, connClauses, copyClauses, churnClauses, walkClauses,
	} {
		all = append(all, theme...)
	}
	return all
}

func (c clause) test(t *testing.T, n Network, subs int) {
	bubble := n.Bubble && !c.real
	body := func(t *testing.T) {
		t.Cleanup(func() { // the last one to run
			if t.Failed() {
				t.Logf("what is demanded: %s", c.why)
			}
		})
		noLeaks(t, bubble)
		w := &world{T: t, net: n, bubble: bubble}
		w.subs = n.New(t, subs)
		t.Cleanup(func() { w.close() })
		if len(w.subs) != subs {
			t.Fatalf("New(t, %d) returned %d sub-networks", subs, len(w.subs))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
		t.Cleanup(cancel)
		w.ctx = ctx
		c.run(w)
	}
	if !bubble {
		body(t)
		return
	}
	skipped := false // a bubble has a T of its own, and keeps that to itself
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		body(t)
	})
	if skipped {
		t.SkipNow()
	}
}

// closeAll closes sub-networks, within bounds.
func closeAll(t testing.TB, subs []*virtnet.SubNetwork, bubble bool) {
	t.Helper()
	done := make(chan error, len(subs))
	for _, s := range subs {
		go func() { done <- s.Close() }()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for range subs {
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("SubNetwork.Close: %v", err)
			}
		case <-timer.C:
			t.Errorf("SubNetwork.Close has not returned after %s", inVain(bubble))
			return
		}
	}
}
