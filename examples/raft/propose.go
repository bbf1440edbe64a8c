package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/virtnet/virtnet/xnet"
)

// A request has proposals; an answer says what became of each.
type (
	request struct{ Proposals []attempt }
	answer  struct {
		Outcomes []outcome
		Leader   string // who leads, as far as the node knows
	}
)

// An outcome is what became of a proposal.
type outcome struct {
	Index   uint64 // where it is in the log, if it is committed
	Refused bool   // it is not in the log, and will never be
	Err     string // why it is not committed; it may be in the log
}

// A server takes proposals on a host.
type server struct {
	raft *raft.Raft
	beat time.Duration
	wg   sync.WaitGroup
}

func serve(ctx context.Context, host xnet.Networker, r *raft.Raft, beat time.Duration) (*server, error) {
	l, err := host.Listen(ctx, proposePort)
	if err != nil {
		return nil, err
	}
	s := &server{raft: r, beat: beat}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return // the host is down
			}
			s.wg.Go(func() { s.serve(conn) })
		}
	})
	return s, nil
}

// wait waits for what is left to do once the host is closed and raft is shut down.
func (s *server) wait() { s.wg.Wait() }

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	dec, enc := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var req request
		if dec.Decode(&req) != nil || enc.Encode(s.propose(req)) != nil {
			return
		}
	}
}

// propose proposes all at once, and waits for the outcomes.
func (s *server) propose(req request) answer {
	var futures []raft.ApplyFuture
	for _, a := range req.Proposals {
		futures = append(futures, s.raft.Apply(a.marshal(), s.beat))
	}
	var ans answer
	for _, f := range futures {
		var o outcome
		switch err := f.Error(); {
		case err == nil:
			o.Index = f.Index()
		default:
			o.Err, o.Refused = err.Error(), errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout)
		}
		ans.Outcomes = append(ans.Outcomes, o)
	}
	_, leader := s.raft.LeaderWithID()
	ans.Leader = string(leader)
	return ans
}
