package astranet

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/mux"
)

// link is a mux session right on a connection with another node. It carries a control stream, which the node with
// the lower id opens, and tunnels, which carry sessions. It ends with its connection.
type link struct {
	node      *node
	peer      *peer
	conn      net.Conn
	mux       *mux.Session // set by serve
	dialled   bool         // by this node
	preferred bool         // dialled by the node with the lower id
	standby   bool
	life      uint64 // of the other node's process
	number    uint64 // of those with the node, in the order in which they were judged
	identity  ca.Identity
	work      sync.WaitGroup // the goroutines of its streams

	controlled atomic.Bool // the other end has opened the control stream
	barred     atomic.Bool // it was logged that a service of the other node is passed over

	// Guarded by node.mu.
	up       bool                   // in peer.links
	ending   *verdictError          // why this node ends it
	news     map[ServiceId]bool     // services to be announced, or no longer
	known    map[ServiceId]struct{} // services that the other node has told of on this link
	complete bool                   // these are all
	toldAll  bool                   // the other node knows that it has heard of all of this one's
	calls    bool                   // the other node is to open a session
	wake     sync.Cond              // its lock is node.mu
}

func newLink(n *node, h *handshake) *link {
	l := &link{
		node:      n,
		conn:      h.conn,
		dialled:   h.dialled,
		preferred: h.dialled == (n.id < h.other.id),
		standby:   h.standby || h.other.flags&flagStandby != 0,
		life:      h.other.life,
		identity:  h.identity,
		news:      make(map[ServiceId]bool),
		known:     make(map[ServiceId]struct{}),
	}
	l.wake.L = &n.mu
	return l
}

// abandon takes the place back that judge has made for a link that did not come about. A nil link has none.
func (l *link) abandon() {
	if l == nil {
		return
	}
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	l.peer.pending = slices.DeleteFunc(l.peer.pending, func(other *link) bool { return other == l })
	n.forgetLocked(l.peer)
	n.changedLocked()
}

// serve runs the link until it ends, and returns why; finish waits for what is left then. established is called when it can be used.
func (l *link) serve(established func()) error {
	n := l.node
	cfg := &mux.Config{
		KeepAlive: n.set.keepAlive(),
		Timeout:   n.set.timeout(),
		Logger:    n.set.Logger,
		Limits:    mux.Limits{MaxStreams: mostTunnels, AcceptBacklog: 64, StreamWindow: tunnelWindow},
	}
	begin := mux.Server
	if n.id < l.peer.id {
		begin = mux.Client
	}
	var err error
	if l.mux, err = begin(l.conn, cfg); err != nil {
		l.abandon()
		_ = l.conn.Close()
		return err
	}
	if refused, better := l.raise(); refused != nil {
		better.settle()
		_ = l.mux.CloseWithError(uint64(refused.code), refused.reason)
		return refused
	}
	n.log.Info("linked", "with", l.peer.text(), "over", l.conn.RemoteAddr(), "dialled", l.dialled, "standby", l.standby)
	if established != nil {
		established()
	}
	l.run()
	if !n.spawn(l.finish) {
		l.finish()
	}
	err = l.why()
	if v, ok := errors.AsType[*verdictError](err); ok && v.code == linkDenied {
		n.spawn(func() { l.peer.expectAnew(err) })
	}
	n.log.Info("no longer linked", "with", l.peer.text(), "why", err)
	return err
}

const (
	// mostTunnels is how many streams the other end of a link may have opened on it at once.
	mostTunnels = 4096
	// tunnelWindow is what a tunnel may bring before its session has read it, in the beginning. The session bounds memory itself.
	tunnelWindow = 256 << 10
)

// raise takes the link in use, and ends those that it replaces, and the sessions of a process that is no more. If it is not to
// be used it returns why, and the link that is used instead, if there is one.
func (l *link) raise() (refused *verdictError, better *link) {
	n, p := l.node, l.peer
	n.mu.Lock()
	defer n.mu.Unlock()
	p.pending = slices.DeleteFunc(p.pending, func(other *link) bool { return other == l })
	outranks := func(other *link) bool {
		return !other.standby && other.ending == nil && other.life == l.life && other.outranks(l)
	}
	if n.closed {
		l.endingLocked(linkClosed, "the node is closed")
	} else if i := slices.IndexFunc(p.links, outranks); i >= 0 && !l.standby {
		better = p.links[i]
		l.endingLocked(linkDuplicate, "there is another link")
	}
	if l.ending != nil {
		n.forgetLocked(p)
		return l.ending, better
	}
	if p.life != l.life {
		p.life = l.life
		for _, other := range p.links {
			other.endSoonLocked(linkIdentity, "another process has the id now")
		}
		p.links = nil
		for _, s := range p.sessions {
			n.spawnLocked(s.endRestarted)
		}
	}
	l.up = true
	for _, other := range p.addLinkLocked(l) {
		other.endingLocked(linkDuplicate, "there is another link")
		n.spawnLocked(func() {
			l.settle()
			other.end(linkDuplicate, "there is another link")
		})
	}
	if n.set.announces {
		for _, other := range n.listeners {
			if other.service != "" {
				l.news[other.id()] = true
			}
		}
	}
	return nil, nil
}

// settle waits until the other end has taken the link in use, too, as a rule: so that another one between the two nodes
// is not ended before, and they are linked all the time. A nil link is settled.
func (l *link) settle() {
	if l != nil {
		l.answers(l.node.ctx)
	}
}

// run serves the link's streams until it ends, and is used no more.
func (l *link) run() {
	ctx := l.node.ctx
	if l.node.id < l.peer.id {
		if st, err := l.open(ctx, streamControl); err == nil {
			l.work.Go(func() { l.control(st) })
		}
	}
	for {
		st, err := l.mux.Accept(context.Background())
		if err != nil {
			break
		}
		l.work.Go(func() { l.accept(st) })
	}
	l.node.mu.Lock()
	l.up = false
	l.wake.Broadcast()
	l.node.mu.Unlock()
	l.peer.removeLink(l)
}

// finish waits until the connection is closed, which takes a second at most, and nothing of the link is left.
func (l *link) finish() {
	_ = l.mux.Close()
	l.work.Wait()
}

// Kinds of streams on a link: what the first byte says. docs/astranet.md, section 3.
const (
	streamControl = 1
	streamTunnel  = 2
)

// open opens a stream of that kind.
func (l *link) open(ctx context.Context, kind byte) (*mux.Stream, error) {
	st, err := l.mux.Open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := st.Write([]byte{kind}); err != nil {
		_ = st.Close()
		return nil, err
	}
	return st, nil
}

// accept serves a stream that the other end has opened.
func (l *link) accept(st *mux.Stream) {
	_ = st.SetReadDeadline(time.Now().Add(answerPatience))
	var kind [1]byte
	_, err := st.Read(kind[:])
	_ = st.SetReadDeadline(time.Time{})
	switch {
	case err == nil && kind[0] == streamControl && l.node.id > l.peer.id && l.controlled.CompareAndSwap(false, true):
		l.control(st)
	case err == nil && kind[0] == streamTunnel && l.node.id > l.peer.id:
		l.tunnel(st)
	default:
		_ = st.Reset(codeUnknown)
		_ = st.Close()
	}
}

// end ends the link, with a code for the other end.
func (l *link) end(code byte, reason string) {
	n := l.node
	n.mu.Lock()
	l.endingLocked(code, reason)
	n.mu.Unlock()
	_ = l.mux.CloseWithError(uint64(code), reason)
}

// endSoon is end that does not wait.
func (l *link) endSoon(code byte, reason string) {
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	l.endSoonLocked(code, reason)
}

// endSoonLocked is endSoon with node.mu held.
func (l *link) endSoonLocked(code byte, reason string) {
	l.endingLocked(code, reason)
	l.node.spawnLocked(func() { _ = l.mux.CloseWithError(uint64(code), reason) })
}

// endingLocked notes why this node ends the link, the first time. It is called with node.mu held.
func (l *link) endingLocked(code byte, reason string) {
	if l.ending == nil {
		l.ending = &verdictError{verdict{code, reason}, false, true}
	}
}

// why is the reason for the link's end.
func (l *link) why() error {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	if l.ending != nil {
		return l.ending
	}
	err := l.mux.Err()
	if se, ok := errors.AsType[*mux.SessionError](err); ok && se.Remote && !se.Protocol {
		return &verdictError{verdict{byte(min(se.Code, 255)), se.Reason}, true, true}
	}
	return err
}
