package astranet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = 5 * time.Second // well within the Grace of sessions that wait
	// refusedBackoff is how long a node is left alone that has refused this one for good.
	refusedBackoff = 10 * time.Second
	// resolveEvery is how long after a name was resolved it is again: for addresses that are new. If there is no link at one
	// of the old ones it is tried sooner.
	resolveEvery   = 10 * time.Second
	resolveAtLeast = time.Second
)

func (n *node) Join(network, address string) error {
	return n.JoinContext(context.Background(), network, address)
}

// JoinContext is Join that waits no longer than ctx for the first round. What goes on afterwards ends with Close.
func (n *node) JoinContext(ctx context.Context, network, address string) error {
	n.start()
	err := n.join(ctx, network, address)
	if err == nil {
		n.waitTold(ctx)
		return nil
	}
	if n.ctx.Err() != nil {
		err = ErrNodeClosed
	}
	return &net.OpError{Op: "join", Net: network, Addr: namedAddr{network, address}, Err: bare(err)}
}

// toldPatience is how long Join waits for a new neighbour to tell its services.
const toldPatience = time.Second

// waitTold waits until all neighbours have told their services, so that Services has them when Join returns. One that does not is not
// waited for long.
func (n *node) waitTold(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, toldPatience)
	defer cancel()
	for {
		n.mu.Lock()
		next, told := n.linked, true
		for _, p := range n.peers {
			told = told && !slices.ContainsFunc(p.links, func(l *link) bool { return !l.complete })
		}
		n.mu.Unlock()
		if told {
			return
		}
		select {
		case <-next:
		case <-n.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) join(ctx context.Context, network, address string) error {
	kind, err := n.carrierKind(network)
	if err != nil {
		return err
	}
	if err := kind.check(address); err != nil {
		return err
	}
	j := &join{
		node: n, kind: kind, address: address,
		keepers: make(map[string]*keeper), first: make(chan error, 1), lost: make(chan struct{}, 1),
	}
	if !n.spawn(j.run) {
		return ErrNodeClosed
	}
	select {
	case err := <-j.first:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join keeps links with the nodes at all addresses of a name.
type join struct {
	node    *node
	kind    carrierKind
	address string
	first   chan error    // takes what came of the first round
	lost    chan struct{} // takes a word if there is no link at an address

	keepers map[string]*keeper // run's
}

// run resolves the name, from time to time, and has a keeper for each address.
func (j *join) run() {
	n := j.node
	err := j.round(true)
	j.first <- err
	if isFinal(err) {
		for _, k := range j.keepers {
			k.stop()
		}
		return
	}
	for n.ctx.Err() == nil {
		pause(n.ctx, resolveAtLeast)
		t := time.NewTimer(jitter(resolveEvery - resolveAtLeast))
		select {
		case <-n.ctx.Done():
		case <-j.lost:
		case <-t.C:
		}
		t.Stop()
		if n.ctx.Err() != nil {
			return
		}
		if err := j.round(false); err != nil {
			n.log.Debug("an address to join is not known now, and what it was is kept", "address", j.address, "why", err)
		}
	}
}

// round resolves the name and has a keeper for each of its addresses, and none for others that have no link. The first time it waits
// until one is linked, or none can be, and returns why.
func (j *join) round(wait bool) error {
	n := j.node
	ctx, cancel := context.WithTimeout(n.ctx, n.set.handshake())
	addrs, err := j.kind.resolve(ctx, j.address)
	cancel()
	if err != nil {
		return err
	}
	results := make(chan error, len(addrs))
	started := 0
	for _, a := range addrs {
		if j.keepers[a] != nil {
			continue
		}
		k := &keeper{join: j, addr: a, result: results}
		k.ctx, k.stop = context.WithCancel(n.ctx)
		if n.spawn(k.run) {
			j.keepers[a] = k
			started++
		} else {
			k.stop()
		}
	}
	for a, k := range j.keepers {
		if !slices.Contains(addrs, a) && !k.isLinked() {
			k.stop()
			delete(j.keepers, a)
		}
	}
	if !wait {
		return nil
	}
	return firstOf(results, started)
}

// firstOf returns nil with the first nil of so many errors, or all of them.
func firstOf(results <-chan error, count int) error {
	var errs []error
	for range count {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	switch len(errs) {
	case 0:
		return ErrNodeClosed
	case 1:
		return errs[0]
	}
	return errors.Join(errs...)
}

// isFinal tells whether there is no point in trying again: an identity, this node's or the other's, is refused, or the link
// is forbidden. What is wrong about the time may be right later.
func isFinal(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok && !isCA(err) {
		return !slices.ContainsFunc(all.Unwrap(), func(e error) bool { return !isFinal(e) })
	}
	if v, ok := errors.AsType[*verdictError](err); ok {
		return v.final()
	}
	if isCA(err) {
		return !errors.Is(err, ca.ErrForeign) && !errors.Is(err, ca.ErrExpired) && !errors.Is(err, ca.ErrNotYetValid)
	}
	return errors.Is(err, ErrDenied)
}

func isCA(err error) bool {
	_, ok := err.(*ca.Error)
	return ok
}

// keeper keeps a link with the node at one address.
type keeper struct {
	join   *join
	addr   string
	ctx    context.Context
	stop   context.CancelFunc
	result chan<- error // takes what came of the first try. It is run's
	said   string       // what was logged last. Likewise

	mu     sync.Mutex
	linked bool
}

func (k *keeper) isLinked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.linked
}

func (k *keeper) setLinked(linked bool) {
	k.mu.Lock()
	k.linked = linked
	k.mu.Unlock()
	if linked {
		k.tell(nil)
		k.said = ""
	}
}

// tell reports what came of the first try, once.
func (k *keeper) tell(err error) {
	if k.result != nil {
		k.result <- err
		k.result = nil
	}
}

// changed is closed when the node has other credentials: with these it may be let in.
func (k *keeper) changed() <-chan struct{} {
	if c := k.join.node.set.Credentials; c != nil {
		return c.Changed()
	}
	return nil
}

// pause waits for d, or until changed is closed.
func (k *keeper) pause(d time.Duration, changed <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-k.ctx.Done():
	}
}

// run dials for ever. What the other node says for good is asked again, too, but seldom: it may be put right.
func (k *keeper) run() {
	backoff := firstBackoff
	for k.ctx.Err() == nil {
		began, changed := time.Now(), k.changed() // before the try, which may still show the old ones
		err := k.try()
		was := k.isLinked()
		if was {
			changed = k.changed() // what changed while there was a link is no reason to hurry: others may have lost theirs, too
		}
		k.setLinked(false)
		k.tell(err)
		if was && time.Since(began) > backoff {
			backoff = firstBackoff
		}
		wait := backoff
		if isFinal(err) && !was { // after a link there may be another at once, say with the next certificate
			wait = refusedBackoff
		}
		k.log(was, err)
		select {
		case k.join.lost <- struct{}{}:
		default:
		}
		k.pause(jitter(wait), changed)
		backoff = min(2*backoff, mostBackoff)
	}
	k.tell(ErrNodeClosed)
}

// log says that there is no link, and why, if that is news.
func (k *keeper) log(was bool, err error) {
	if text := err.Error(); !was && k.ctx.Err() == nil && text != k.said {
		k.said = text
		k.join.node.log.Info("not linked, and tried again", "at", k.addr, "why", err)
	}
}

// jitter returns d less up to half of it, so that not all come at once.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

// try dials once. It returns when the link has ended.
func (k *keeper) try() error {
	n := k.join.node
	ctx, cancel := context.WithTimeout(k.ctx, n.set.handshake())
	c, err := k.join.kind.dial(ctx, k.addr)
	cancel()
	if err != nil {
		return err
	}
	h := &handshake{node: n, conn: c, dialled: true}
	l, err := h.run(k.ctx)
	if err == nil {
		err = l.serve(func() { k.setLinked(true) })
	}
	if v, ok := errors.AsType[*verdictError](err); ok && v.linked() {
		k.follow(h.other.id)
	}
	return err
}

// follow is for a link that is a duplicate: it waits as long as the node has the other one, which may be about to come up.
func (k *keeper) follow(id uint64) {
	n := k.join.node
	ctx, cancel := context.WithTimeout(k.ctx, n.set.handshake())
	defer cancel()
	if n.waitLinked(ctx, id, true) {
		k.setLinked(true)
		n.waitLinked(k.ctx, id, false)
	}
}

// waitLinked waits until there is a link with a node, standbys not counted, or there is none.
func (n *node) waitLinked(ctx context.Context, id uint64, there bool) bool {
	for {
		n.mu.Lock()
		next := n.linked
		p := n.peers[id]
		is := p != nil && slices.ContainsFunc(p.links, func(l *link) bool { return !l.standby && l.ending == nil })
		n.mu.Unlock()
		if is == there {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}
