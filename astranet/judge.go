package astranet

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// judge decides whether the connection becomes a link, and makes it one in waiting. A link that stands in its way must show that
// it lives: that the other end makes a new one suggests that it does not.
func (h *handshake) judge(ctx context.Context) (*link, verdict) {
	n, o := h.node, &h.other
	switch {
	case o.lowest > linkVersion || o.highest < linkVersion:
		return nil, verdict{linkVersions, fmt.Sprintf("no version in common: one speaks %d to %d, the other %d", o.lowest, o.highest, linkVersion)}
	case o.id == n.id && o.life == n.life:
		return nil, verdict{linkSelf, "it is linked with itself: the address is its own"}
	case o.id == n.id:
		return nil, verdict{linkIdentity, "both nodes have the id " + HostName(n.id)}
	}
	l := newLink(n, h)
	for {
		v, rival := l.admit(o.id)
		switch {
		case v.code == linkAdmitted:
			return l, v
		case rival == nil || rival.answers(ctx):
			return nil, v
		}
		rival.endSoon(linkDuplicate, "it does not answer, and there is another")
	}
}

// admit makes l one in waiting for a link with that node. If it does not, the verdict says why, and rival is the link that
// stands in its way, if one does.
func (l *link) admit(id uint64) (v verdict, rival *link) {
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return verdict{linkClosed, ""}, nil
	}
	if p := n.peers[id]; p != nil {
		if p.name != l.identity.Name {
			n.log.Warn("two nodes have one id", "id", HostName(id), "known", p.name, "other", l.identity.Name)
			return verdict{linkIdentity, "the id " + HostName(id) + " is known as that of " + nodeText(id, p.name)}, nil
		}
		if v, rival := l.rivalLocked(p); v.code != linkAdmitted {
			return v, rival
		}
	}
	p := n.peerLocked(id, l.identity.Name)
	p.life = or(p.life, l.life)
	p.judged++
	l.peer, l.number = p, p.judged
	p.pending = append(p.pending, l)
	return verdict{}, nil
}

// rivalLocked finds what stands in the way of a link with a node that is known. It is called with node.mu held.
func (l *link) rivalLocked(p *peer) (verdict, *link) {
	foreign := func(other *link) bool { return other.ending == nil && other.life != l.life }
	keeps := func(other *link) bool { return other.keepsLocked(l) }
	if i := slices.IndexFunc(p.links, foreign); i >= 0 {
		return verdict{linkIdentity, "another process with the id " + HostName(p.id) + " is linked"}, p.links[i]
	}
	if slices.ContainsFunc(p.pending, foreign) {
		return verdict{linkBusy, "another process with the id " + HostName(p.id) + " is about to be linked"}, nil
	}
	if i := slices.IndexFunc(p.links, keeps); i >= 0 {
		return verdict{linkDuplicate, ""}, p.links[i]
	}
	if slices.ContainsFunc(p.pending, keeps) {
		return verdict{linkDuplicate, ""}, nil
	}
	if l.standby && len(p.links)+len(p.pending) >= mostLinks {
		return verdict{linkBusy, fmt.Sprintf("there are %d links with it already", mostLinks)}, nil
	}
	return verdict{}, nil
}

// mostLinks is how many links there may be with a node, standbys included. Others could make any number of these.
const mostLinks = 8

// keepsLocked tells whether l, which is there, makes another one of the same process a duplicate. Of two that are dialled at once both
// ends keep the one dialled by the lower id. Of two that one node has dialled it keeps the older, as long as that lives
// for it; so the other takes the newer.
func (l *link) keepsLocked(other *link) bool {
	return !l.standby && !other.standby && l.ending == nil &&
		(l.preferred && !other.preferred || l.preferred == other.preferred && other.dialled)
}

// outranks tells which of two links that have both come about is kept: both ends say the same. That of two which one
// node has dialled it dials the second when it has lost the first both ends know by their order.
func (l *link) outranks(other *link) bool {
	if l.preferred != other.preferred {
		return l.preferred
	}
	return l.number > other.number
}

// answers tells whether the other end of a link that is up lives.
func (l *link) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, min(time.Second, l.node.set.handshake()/4))
	defer cancel()
	_, err := l.mux.Ping(ctx)
	return err == nil
}
