package main

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/virtnet/virtnet/xnet"
)

// A stream is a host as raft wants it: a listener that can also dial.
type stream struct {
	net.Listener
	host xnet.Networker
}

var _ raft.StreamLayer = stream{}

// newStream listens for raft on a host.
func newStream(ctx context.Context, host xnet.Networker) (stream, error) {
	l, err := host.Listen(ctx, raftPort)
	if err != nil {
		return stream{}, err
	}
	return stream{xnet.BindCtxL(l, context.Background()), host}, nil
}

// Dial is raft.StreamLayer's.
func (s stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.host.Dial(ctx, string(address))
}

// A transport is raft's own over a stream. It tells who says to be the leader, and ends pipelines that raft forgets.
type transport struct {
	*raft.NetworkTransport
	name  string
	watch watcher

	mu        sync.Mutex
	pipelines []raft.AppendPipeline
}

var _ raft.WithPreVote = (*transport)(nil)

// AppendEntries is what only a leader sends, soon after its election and then again and again: it is the heartbeat too.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse) error {
	t.watch.leads(t.name, args.Term)
	return t.NetworkTransport.AppendEntries(id, to, args, resp)
}

// AppendEntriesPipeline is for more than one request under way.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, to)
	if err == nil {
		t.mu.Lock()
		t.pipelines = append(t.pipelines, p)
		t.mu.Unlock()
	}
	return p, err
}

// closePipelines has what waits for a pipeline return.
func (t *transport) closePipelines() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pipelines {
		_ = p.Close() // always nil
	}
}
