package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// start starts a cluster for a test, and waits for a leader.
func start(t *testing.T) (c *cluster, leader string, term uint64) {
	t.Helper()
	m := newModel(nil)
	s := settings{peers: names, beat: time.Second, logger: hclog.NewNullLogger(), watch: m, flight: flight, trailing: trailing}
	c, err := newCluster(1, s, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
		for _, p := range m.problems() {
			t.Error(p)
		}
	})
	if !c.await(patience, func() bool { leader, term = m.leader(); return term > 0 }) {
		t.Fatal("nobody leads")
	}
	return c, leader, term
}

// TestPartitionedLeader checks what becomes of a leader that loses the others: it steps down, another one leads, and what it
// could not commit is gone when they are together again.
func TestPartitionedLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, old, term := start(t)
		node := c.nodes[old]
		kept := attempt{1, 1}
		if err := node.raft.Apply(kept.marshal(), time.Second).Error(); err != nil {
			t.Fatal(err)
		}

		p := c.em.Isolate(old)
		lost := node.raft.Apply(attempt{2, 1}.marshal(), time.Second)
		if err := lost.Error(); !errors.Is(err, raft.ErrLeadershipLost) {
			t.Errorf("an entry of a leader without followers: %v, want %v", err, raft.ErrLeadershipLost)
		}
		if s := node.raft.State(); s == raft.Leader {
			t.Errorf("%s is still %v", old, s)
		}
		var next string
		var nextTerm uint64
		if !c.await(10, func() bool { next, nextTerm = c.model.leader(); return nextTerm > term }) {
			t.Fatal("nobody else leads")
		}
		if next == old {
			t.Errorf("%s leads again, and cannot reach anybody", old)
		}
		later := attempt{3, 1}
		if err := c.nodes[next].raft.Apply(later.marshal(), time.Second).Error(); err != nil {
			t.Error(err)
		}

		p.Heal()
		c.agree()
		for _, name := range names {
			all := c.nodes[name].machine.all()
			if len(all) != 2 || all[0].Attempt != kept || all[1].Attempt != later {
				t.Errorf("%s has %v, want %v and %v", name, all, kept, later)
			}
		}
	})
}

// TestAllCrash checks that what was committed is there when all have crashed and started again, and nothing but that.
func TestAllCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, leader, term := start(t)
		for i := range uint32(300) { // some snapshots
			if err := c.nodes[leader].raft.Apply(attempt{i, 1}.marshal(), time.Second).Error(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, undo := c.crashes(names, true)
		time.Sleep(time.Minute)
		undo()
		if !c.await(10, func() bool { _, now := c.model.leader(); return now > term }) {
			t.Fatal("nobody leads any more")
		}
		c.agree()
		for _, name := range names {
			if n := len(c.nodes[name].machine.all()); n != 300 {
				t.Errorf("%s has %d records, want 300", name, n)
			}
			if metas, _ := c.disks[name].List(); len(metas) == 0 {
				t.Errorf("%s has no snapshot", name)
			}
		}
	})
}
