package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// A cluster is five nodes on a pipenet, and what is done to them.
type cluster struct {
	em       *netem.Net
	network  *pipenet.Network
	model    *model
	rand     *rand.Rand
	settings settings
	nodes    map[string]*node // those that run
	disks    map[string]*disk
}

// names are those of the nodes.
var names = []string{"n1", "n2", "n3", "n4", "n5"}

// calm is what the network is like when it is well, for a beat of a second: as in a data centre.
func calm(beat time.Duration) netem.Rules {
	return netem.Rules{Latency: netem.Uniform(beat/1000, beat/200)}
}

// newCluster starts the nodes.
func newCluster(seed uint64, s settings, m *model) (*cluster, error) {
	em := netem.New(seed)
	if err := em.SetAll(calm(s.beat)); err != nil {
		return nil, err
	}
	c := &cluster{
		em: em, network: pipenet.Config{Emulator: em, Buffer: -1}.New("raft"), model: m, rand: rand.New(rand.NewPCG(seed, 1)),
		settings: s, nodes: make(map[string]*node), disks: make(map[string]*disk),
	}
	for _, name := range names {
		c.disks[name] = newDisk(name, m)
		if err := c.start(name); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// start starts a node with what its disk has.
func (c *cluster) start(name string) error {
	n, err := startNode(context.Background(), c.network.Host(name), c.disks[name], c.settings)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.nodes[name] = n
	return nil
}

// crash crashes a node: its connections are reset, or silent.
func (c *cluster) crash(name string, silent bool) {
	crash := c.em.Crash
	if silent {
		crash = c.em.Vanish
	}
	if err := errors.Join(crash(c.nodes[name].host.(*virtnet.Host)), c.bury(name)); err != nil {
		c.model.wrong("%s: %v", name, err)
	}
}

// bury ends what runs on a host that has crashed. What was on the disk then is all the node has when it is started
// again. (Nobody has heard of what it writes after the crash, so it does not matter how soon that is.)
func (c *cluster) bury(name string) error {
	n := c.nodes[name]
	if n == nil {
		return nil
	}
	delete(c.nodes, name)
	c.disks[name] = c.disks[name].copy()
	return n.stop()
}

// restart starts a node whose host has crashed.
func (c *cluster) restart(name string) error { return errors.Join(c.bury(name), c.start(name)) }

// close ends everything.
func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.stop())
	}
	return errors.Join(append(errs, c.network.Close())...)
}

// patience is how many beats the nodes have to agree when all is well.
const patience = 100

// await waits until f is true, and returns whether it is before many beats have passed.
func (c *cluster) await(beats int, f func() bool) bool {
	for range 10 * beats {
		if f() {
			return true
		}
		time.Sleep(c.settings.beat / 10)
	}
	return f()
}

// agree waits until all nodes have applied all that is committed, and checks that.
func (c *cluster) agree() {
	c.await(patience, func() bool {
		for _, n := range c.nodes {
			if len(n.machine.all()) < c.model.records() || n.raft.AppliedIndex() < n.raft.LastIndex() {
				return false
			}
		}
		return true
	})
	for name, n := range c.nodes {
		c.model.check(name, n.machine.all())
	}
	if len(c.model.problems()) == 0 {
		c.model.say("%d nodes agree on %s", len(c.nodes), c.model.summary())
	}
}

// run has a cluster commit that many entries at least while a plan of faults lasts, and then agree. The error is
// about what cannot be started or stopped; what is wrong is the model's.
func run(seed uint64, entries int, s settings, m *model) error {
	s.peers, s.watch = names, m
	c, err := newCluster(seed, s, m)
	if err != nil {
		return err
	}
	cl := &client{
		host: c.network.Host("client"), nodes: slices.Clone(names), beat: s.beat, rand: rand.New(rand.NewPCG(seed, 2)), model: m,
	}
	var well, hopeless atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		cl.run(func() bool { return !hopeless.Load() && (!well.Load() || m.committed() < entries) })
	}()
	err = c.suffer(seed)
	m.say("all is well")
	well.Store(true)
	if !c.await(patience, func() bool { return m.committed() >= entries }) {
		m.wrong("%d entries are committed %d beats after the last fault, want %d", m.committed(), patience, entries)
		hopeless.Store(true)
	}
	<-done
	if err == nil {
		c.agree()
	}
	return errors.Join(err, c.close())
}
