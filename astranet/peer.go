package astranet

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// peer is another node, or this one as it dials itself. It is in node.peers while it has links or sessions.
type peer struct {
	node *node
	id   uint64
	name string // as its certificate has it. Constant: who has the id next with another name is refused, until all of this are gone

	slow atomic.Bool // it did not take an answer soon

	// Guarded by node.mu.
	asking   map[*mux.Stream]bool // requests without an answer, and whether they were interrupted
	life     uint64               // of its process
	judged   uint64               // links that this end has admitted
	pending  []*link              // admitted by this end, not yet by the other
	links    []*link              // the first is the one in use
	sessions []*session           // the last is the one for new streams
	opening  bool                 // a session is being opened
	wanted   bool                 // the other node wants one, and this one is to open it
	tunnels  int                  // taken from the other node: those that are beginning, and sessions
	answers  int                  // how many answers wait for it
	denials  int                  // dials that were denied and not logged
	denied   time.Time            // when one was logged
	called   *link                // on which the other node was asked to open one, and has not yet
	services map[ServiceId]struct{}
}

func (p *peer) text() string { return nodeText(p.id, p.name) }

// knows tells whether there is such a node.
func (n *node) knows(id uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[id] != nil
}

// serviceAt returns the service that a node has at a port, as far as this one knows.
func (n *node) serviceAt(host uint64, port uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.listeners[port]; host == n.id && l != nil {
		return l.service
	}
	if p := n.peers[host]; p != nil && n.set.Rules != nil {
		for s := range p.services {
			if s.Port == port {
				return s.Service
			}
		}
	}
	return ""
}

func (n *node) nameOf(id uint64) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nameOfLocked(id)
}

func (n *node) nameOfLocked(id uint64) string {
	if p := n.peers[id]; p != nil {
		return p.name
	}
	return ""
}

// peerLocked returns the node with that id, which it makes known if need be. It is called with mu held.
func (n *node) peerLocked(id uint64, name string) *peer {
	p := n.peers[id]
	if p == nil {
		p = &peer{node: n, id: id, name: name, services: make(map[ServiceId]struct{})}
		n.peers[id] = p
	}
	return p
}

// forgetLocked forgets the peer if it has neither links nor sessions. The node itself it keeps: a dial that has got it may be about to
// open a session, which Close must find. It is called with mu held.
func (n *node) forgetLocked(p *peer) {
	if p.id != n.id && len(p.pending)+len(p.links)+len(p.sessions) == 0 && !p.opening && n.peers[p.id] == p {
		delete(n.peers, p.id)
	}
}

// reachableLocked tells whether a node can be dialled now. It is called with mu held.
func (n *node) reachableLocked(id uint64) bool {
	if id == n.id {
		return n.set.loopback
	}
	p := n.peers[id]
	return p != nil && len(p.links) > 0
}

// peerFor returns the node of a service, or nil if it has gone.
func (n *node) peerFor(s ServiceId) *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.Host == n.id && n.set.loopback && !n.closed {
		return n.peerLocked(n.id, n.name)
	}
	if p := n.peers[s.Host]; p != nil && len(p.links) > 0 {
		return p
	}
	return nil
}

// addLinkLocked takes a link in use, and says which ones it replaces. It is called with mu held.
func (p *peer) addLinkLocked(l *link) (replaced []*link) {
	n := p.node
	if l.standby {
		p.links = append(p.links, l)
	} else {
		p.links = slices.DeleteFunc(p.links, func(other *link) bool {
			if !other.standby {
				replaced = append(replaced, other)
			}
			return !other.standby
		})
		p.links = slices.Insert(p.links, 0, l)
	}
	n.routes.add(ServiceId{Service: p.name, Host: p.id, Node: p.name})
	n.changedLocked()
	return replaced
}

// removeLink forgets a link that has ended. With the last one the node's services go.
func (p *peer) removeLink(l *link) {
	n := p.node
	n.mu.Lock()
	defer n.mu.Unlock()
	p.links = slices.DeleteFunc(p.links, func(other *link) bool { return other == l })
	p.sweepLocked()
	if len(p.links) == 0 {
		for st := range p.asking {
			p.interruptLocked(st)
		}
		n.routes.remove(ServiceId{Service: p.name, Host: p.id, Node: p.name})
	}
	n.forgetLocked(p)
	n.changedLocked()
}

// asks notes a stream whose request has no answer yet. If there is no link any more it interrupts that, and removeLink does when the
// last one ends: a dial need not wait for a node that may be gone.
func (p *peer) asks(st *mux.Stream) {
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	if p.asking == nil {
		p.asking = make(map[*mux.Stream]bool)
	}
	p.asking[st] = false
	if len(p.links) == 0 && p.id != p.node.id {
		p.interruptLocked(st)
	}
}

func (p *peer) interruptLocked(st *mux.Stream) {
	p.asking[st] = true
	_ = st.SetDeadline(time.Unix(1, 0))
}

// asked says that the wait for an answer is over. It tells whether it was interrupted; it is not from now on.
func (p *peer) asked(st *mux.Stream) (interrupted bool) {
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	interrupted = p.asking[st]
	delete(p.asking, st)
	return interrupted
}

// link waits for a link to the node.
func (p *peer) link(ctx context.Context) (*link, error) {
	n := p.node
	for {
		n.mu.Lock()
		next := n.linked
		var l *link
		if len(p.links) > 0 {
			l = p.links[0]
		}
		n.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
