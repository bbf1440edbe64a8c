package astranet

import (
	"context"
	"slices"
	"time"
)

// watchCredentials ends links whose other end is not to be believed any more: its certificate has been revoked, or has expired, or
// its authority is not trusted any more.
func (n *node) watchCredentials() {
	for n.ctx.Err() == nil {
		changed := n.set.Credentials.Changed()
		n.judgeLinks(changed)
	}
}

// lookAgain is how often it is looked for expired certificates at least: somebody may set the clock.
const lookAgain = time.Minute

// judgeLinks judges the links, each one once and when its certificate expires, until the credentials have changed or the node is closed.
func (n *node) judgeLinks(changed <-chan struct{}) {
	expires := make(map[*link]time.Time) // of those that have been judged
	for {
		n.mu.Lock()
		linked := n.linked
		n.mu.Unlock()
		timer := time.NewTimer(n.recheck(expires))
		select {
		case <-linked: // perhaps there is another
		case <-timer.C:
		case <-changed:
		case <-n.ctx.Done():
		}
		timer.Stop()
		select {
		case <-changed:
			return
		case <-n.ctx.Done():
			return
		default:
		}
	}
}

// recheck ends the links of nodes that are not to be believed, among those that are not in expires yet, or have expired, and tells
// when it is to be called again.
func (n *node) recheck(expires map[*link]time.Time) time.Duration {
	up := make(map[*link]bool)
	n.mu.Lock()
	for _, p := range n.peers {
		for _, l := range p.links {
			up[l] = true
		}
	}
	n.mu.Unlock()
	for l := range expires {
		if !up[l] {
			delete(expires, l)
		}
	}
	next := lookAgain
	for l := range up {
		at, judged := expires[l]
		if !judged || time.Now().After(at) {
			id, err := n.set.Credentials.Verify(l.identity.Chain)
			if err != nil {
				n.disown(l, err)
				delete(expires, l)
				continue
			}
			at = id.Expires
			expires[l] = at
		}
		next = min(next, time.Until(at)+time.Millisecond) // in its last instant it is valid
	}
	return next
}

// disown ends a link, since its other end is not to be believed any more.
func (n *node) disown(l *link, err error) {
	n.mu.Lock()
	ending := l.ending != nil
	if !ending {
		l.endSoonLocked(linkDenied, "certificate: "+err.Error())
	}
	n.mu.Unlock()
	if !ending {
		n.log.Warn("a link is ended, since its other end is not to be believed any more", "with", l.peer.text(), "why", err)
	}
}

// anewPatience is how long a node whose certificate was refused while it was linked may take to show a better one.
const anewPatience = 3 * time.Second

// expectAnew waits for another link with the node, since one was ended for want of a good certificate, by this node or the other:
// that may have been replaced meanwhile, and the sessions go on then. If no link comes they end, for that reason. Both ends
// do this, since no word passes between them any more.
func (p *peer) expectAnew(why error) {
	n := p.node
	ctx, cancel := context.WithTimeout(n.ctx, min(anewPatience, n.set.grace()))
	defer cancel()
	if _, err := p.link(ctx); err == nil || n.ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	sessions := slices.Clone(p.sessions)
	n.mu.Unlock()
	closeAll(sessions, func(s *session) { _ = s.mux.CloseWithError(sessionDenied, why.Error()) })
}
