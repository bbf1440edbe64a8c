package astranet

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/virtnet/virtnet/internal/punycode"
	"github.com/virtnet/virtnet/mux"
)

// dialPatience is how long a Dial without a time-out of its own takes.
const dialPatience = 10 * time.Second

func (n *node) Dial(network, hp string) (net.Conn, error) { return n.DialTimeout(network, hp, 0) }

func (n *node) DialTimeout(network, hp string, t time.Duration) (net.Conn, error) {
	if t <= 0 {
		t = dialPatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), t)
	defer cancel()
	return n.DialContext(ctx, network, hp)
}

func (n *node) HttpDial(network, host string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	return n.HttpDialContext(ctx, network, host)
}

func (n *node) HttpDialContext(ctx context.Context, network, host string) (net.Conn, error) {
	name, port, has, err := splitPort(host)
	if err != nil {
		return n.DialContext(ctx, network, host) // which says so
	}
	// Package http writes names that are not ASCII as DNS does.
	if decoded := punycode.ToUnicode(name); decoded != name && !n.services.has(name+n.set.env) {
		name = decoded
	}
	if has && port != 80 {
		name += ":" + strconv.FormatUint(uint64(port), 10)
	}
	return n.DialContext(ctx, network, name)
}

func (n *node) DialContext(ctx context.Context, network, hp string) (net.Conn, error) {
	err := n.start()
	c := &conn{network: network}
	var t target
	if err == nil {
		t, err = n.target(network, hp)
	}
	if err == nil {
		c.port = n.drawPort()
		err = n.dial(ctx, c, t)
	}
	if err == nil {
		return c, nil
	}
	e := &net.OpError{Op: "dial", Net: network, Err: err}
	if c.port != 0 {
		e.Source = &Addr{Net: network, Host: n.id, Port: c.port, Node: n.name}
		e.Addr = dialled(t)
	}
	return nil, e
}

// target is what a dial is for.
type target struct {
	network string
	hp      string // as given
	host    uint64 // the node, if its id was given
	service string // else the full name
	port    uint32 // 0 if any will do
	sel     Selector
}

// dialled is a target as an address.
type dialled target

func (d dialled) Network() string { return d.network }
func (d dialled) String() string  { return d.hp }

func (n *node) target(network, hp string) (target, error) {
	name, port, has, err := splitPort(hp)
	if err != nil {
		return target{}, err
	}
	t := target{network: network, hp: hp, service: name + n.set.env, port: port, sel: selectorOf(network, port)}
	if network == portToRegistry {
		t.port = 0
	}
	switch id, ok := ParseHostName(name); {
	case name == "":
		return t, &net.AddrError{Err: "missing service or host", Addr: hp}
	case ok && (id == n.id || n.knows(id)):
		if !has || port == 0 {
			return t, &net.AddrError{Err: "missing port", Addr: hp}
		}
		t.host, t.service, t.port = id, "", port
		return t, nil
	}
	return t, checkService(t.service)
}

// dial connects c to a target. It goes on to another instance, or waits for one, if what it knows of services is behind: the
// session has ended, or the node says that it has no such service any more.
func (n *node) dial(ctx context.Context, c *conn, t target) error {
	for try := 0; ; try++ {
		s, p, err := n.find(ctx, t)
		if err == nil {
			c.peer, c.other = p, s.Port
			c.st, err = n.connect(ctx, p, request{s.Port, c.port, s.Service})
		}
		behind := err == errTryAgain || t.host == 0 && p != nil && errors.Is(err, ErrNoService)
		switch {
		case err == nil:
			return nil
		case n.isClosed():
			return ErrNodeClosed
		case !behind:
			return err
		case try > 0: // the first time it has been put right already
			pause(ctx, min(time.Duration(try)*time.Millisecond, time.Second))
		}
		switch {
		case ctx.Err() == nil:
		case err == errTryAgain:
			return n.notFound(t, ctx.Err())
		default:
			return err
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// errTryAgain says that it was not the other node's word that a dial has failed.
var errTryAgain = errors.New("BUG: another try is due")

// find returns an instance of what is dialled, and its node. It waits for one until ctx ends.
func (n *node) find(ctx context.Context, t target) (ServiceId, *peer, error) {
	for {
		s, found, next, err := n.choose(t)
		switch {
		case err != nil:
			return s, nil, err
		case !found:
		case ctx.Err() != nil: // before anything is sent
			return s, nil, &NodeError{Host: s.Host, Node: n.nameOf(s.Host), Err: ctx.Err()}
		default:
			if p := n.peerFor(s); p != nil {
				return s, p, nil
			}
			return s, nil, errTryAgain // it has just gone, and soon from the lists, too
		}
		select {
		case <-next:
		case <-n.ctx.Done():
			return s, nil, ErrNodeClosed
		case <-ctx.Done():
			return s, nil, n.notFound(t, ctx.Err())
		}
	}
}

// choose returns an instance of what is dialled, if there is one now, or what is closed when there may be.
func (n *node) choose(t target) (s ServiceId, found bool, next <-chan struct{}, err error) {
	if t.host != 0 {
		return n.chooseHost(t)
	}
	s, found, next = n.services.choose(t.sel, t.service, func(s ServiceId) bool {
		return (t.port == 0 || s.Port == t.port) && (s.Host != n.id || n.set.loopback)
	})
	if !found {
		if h, denied := n.hidden.Discover(nil, t.service); denied {
			err = &NodeError{Host: h.Host, Node: h.Node, Err: ErrDenied, Reason: ownRules}
		}
	}
	return s, found, next, err
}

const ownRules = "this node's rules forbid it"

func (n *node) chooseHost(t target) (s ServiceId, found bool, next <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s = ServiceId{Host: t.host, Port: t.port}
	if t.host == n.id && !n.set.loopback {
		return s, false, nil, &NodeError{Host: n.id, Node: n.name, Err: ErrNoRoute, Reason: "it is this node, which is not made WithLoopBack"}
	}
	return s, n.reachableLocked(t.host), n.linked, nil
}

// looksLikeHost tells whether what is dialled could be a node's id, if there were one.
func (t target) looksLikeHost() bool {
	name, _, _, _ := splitPort(t.hp)
	_, ok := ParseHostName(name)
	return ok
}

// notFound is the error of a dial that has waited in vain.
func (n *node) notFound(t target, err error) error {
	if t.host != 0 {
		return &NodeError{Host: t.host, Node: n.nameOf(t.host), Err: ErrNoRoute, Ctx: err}
	}
	reason := quoteService(t.service)
	if t.port != 0 {
		reason += " at port " + strconv.FormatUint(uint64(t.port), 10)
	}
	switch k := len(n.Routes()); {
	case t.looksLikeHost():
		reason += ", nor is a node with that id linked with this one"
	case n.services.count(t.service, n.id) > 0 && !n.set.loopback:
		reason += " but on this node, which is not made WithLoopBack"
	case k == 0:
		reason += ", and no link with another node"
	case k == 1:
		reason += " on the node that this one is linked with"
	default:
		reason += " on the " + strconv.Itoa(k) + " nodes that this one is linked with"
	}
	return &NodeError{Err: ErrNoService, Reason: reason, Ctx: err}
}

// connect dials on a session with a node.
func (n *node) connect(ctx context.Context, p *peer, q request) (*mux.Stream, error) {
	if q.service == "" && !n.set.Rules.allow(DialAction, n.name, p.name, n.serviceAt(p.id, q.port)) {
		return nil, &NodeError{Host: p.id, Node: p.name, Err: ErrDenied, Reason: ownRules}
	}
	s, err := n.session(ctx, p)
	if err != nil {
		return nil, err
	}
	st, err := s.mux.OpenToWrite(ctx)
	n.opened(s, errors.Is(err, mux.ErrGoAway))
	if err == nil {
		p.asks(st)
		err = ask(ctx, st, q)
		lost := p.asked(st)
		if err == nil {
			if lost { // the answer was there already
				_ = st.SetDeadline(time.Time{})
			}
			return st, nil
		}
		_ = st.Reset(codeUnknown)
		_ = st.Close()
		if lost && ctx.Err() == nil && !n.isClosed() {
			return nil, errTryAgain // on another node, if there is one, or when there is a link again
		}
	}
	if re, ok := errors.AsType[refusedError](err); ok {
		return nil, &NodeError{Host: p.id, Node: p.name, Err: refusal(re).err(), Reason: refusal(re).reason}
	}
	switch {
	case n.isClosed():
		return nil, ErrNodeClosed
	case ctx.Err() != nil:
		return nil, p.timedOut(ctx, "no Accept has taken the connection")
	case over(err):
		return nil, errTryAgain
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return nil, &NodeError{Host: p.id, Node: p.name, Err: ErrRefused, Reason: "it has closed the stream without an answer"}
	}
	return nil, &NodeError{Host: p.id, Node: p.name, Err: ErrRefused, Reason: bare(err).Error()}
}

// refusedError is a refusal on its way up.
type refusedError refusal

func (refusedError) Error() string { return "BUG: a refusal" }

// ask sends a request, and waits for the answer.
func ask(ctx context.Context, st *mux.Stream, q request) error {
	done := within(ctx, st)
	_, err := st.Write(q.append(make([]byte, 0, 64)))
	var r refusal
	if err == nil {
		r, err = readAnswer(st)
	}
	if done() {
		if err == nil && r.code == codeAccepted {
			return st.SetDeadline(time.Time{}) // a result beats a cancellation
		}
		if err != nil {
			err = ctx.Err()
		}
	}
	if err == nil && r.code != codeAccepted {
		return refusedError(r)
	}
	return err
}
