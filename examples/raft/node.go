package main

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/virtnet/virtnet/xnet"
)

// The ports of a node.
const (
	raftPort    = ":7000"
	proposePort = ":8000"
)

// Settings are those of a node.
type settings struct {
	peers  []string      // the names of all nodes
	beat   time.Duration // raft's time-out of heartbeats and elections: all other times are parts of it, or many
	logger hclog.Logger
	watch  watcher
	// flight is how many requests raft sends to a follower before the first is answered. With more than 1 it has a
	// pipeline. trailing is how many entries it keeps that are in a snapshot. See the package comment for both.
	flight, trailing int
}

// A watcher is told what nodes do. Its methods are safe for concurrent use, and do not wait.
type watcher interface {
	// leads is called whenever a node says that it is the leader in a term.
	leads(node string, term uint64)
	// applied is called when a node applies a record, which is its n-th since it was started; it applies those of a
	// snapshot too.
	applied(node string, n int, r record)
	// wrong is called when something is, that must not be.
	wrong(format string, args ...any)
}

// A node is one of a cluster: raft on a host, and a port that takes proposals. All it knows of the network is
// its host.
type node struct {
	host    xnet.Networker
	raft    *raft.Raft
	trans   *transport
	beat    time.Duration
	machine *machine
	server  *server
}

// startNode starts a node with what is on a disk.
func startNode(ctx context.Context, host xnet.Networker, d *disk, s settings) (*node, error) {
	conns, err := newStream(ctx, host)
	if err != nil {
		return nil, err
	}
	logger := s.logger.Named(host.Name())
	trans := &transport{name: host.Name(), watch: s.watch}
	trans.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: conns, Logger: logger, MaxPool: 3, Timeout: 2 * s.beat, MaxRPCsInFlight: s.flight,
	})
	n := &node{host: host, trans: trans, beat: s.beat, machine: &machine{name: host.Name(), watch: s.watch}}
	n.raft, err = n.startRaft(d, logger, s)
	if err != nil {
		return nil, errors.Join(err, trans.Close())
	}
	n.server, err = serve(ctx, host, n.raft, s.beat)
	if err != nil {
		return nil, errors.Join(err, n.raft.Shutdown().Error())
	}
	return n, nil
}

func (n *node) startRaft(d *disk, logger hclog.Logger, s settings) (*raft.Raft, error) {
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(n.host.Name())
	config.Logger = logger
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = s.beat, s.beat, s.beat/2
	config.CommitTimeout = s.beat / 5
	config.NoLegacyTelemetry = true
	// Small numbers, so that a thousand entries see all of it: snapshots, followers that are too far behind for the
	// log, and several messages for what was missed.
	config.SnapshotInterval, config.SnapshotThreshold, config.TrailingLogs = s.beat, 64, uint64(s.trailing)
	config.MaxAppendEntries = 16

	known, err := raft.HasExistingState(d, d, d)
	if err != nil {
		return nil, err
	}
	if !known {
		var servers raft.Configuration
		for _, name := range s.peers {
			peer := raft.Server{ID: raft.ServerID(name), Address: raft.ServerAddress(name + raftPort)}
			servers.Servers = append(servers.Servers, peer)
		}
		if err := raft.BootstrapCluster(config, d, d, d, n.trans, servers); err != nil {
			return nil, err
		}
	}
	return raft.NewRaft(config, n.machine, d, d, d, n.trans)
}

// stop ends the node and its host, at once.
func (n *node) stop() error {
	err := n.host.Close() // first: raft's shutdown waits for what it has under way
	down := make(chan error, 1)
	go func() { down <- n.raft.Shutdown().Error() }()
	select {
	case e := <-down:
		err = errors.Join(err, e)
	case <-time.After(patience * n.beat):
		n.trans.closePipelines()
		err = errors.Join(err, errors.New("raft does not shut down"), <-down)
	}
	n.server.wait()
	return err
}
