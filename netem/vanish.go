package netem

import (
	"errors"
	"os"
	"syscall"

	"github.com/virtnet/virtnet"
)

// The end of a connection whose host has vanished keeps its carrier, so that the other end, the orphan, hears nothing. It
// stays until the orphan is closed. What the orphan sends is lost, and does not even go to the carrier; but if there
// is a host of that name by then, that answers with a reset, which the end that has vanished sends: so it
// travels as anything else on that link.
//
// Net.orphaned has the ends that have vanished by the address of the orphan. At that there is no other open connection, so a
// new one there shows that the orphan is gone, if that was not noticed: one that closed before, or a dial that failed.

// abandon has these ends vanish.
func (n *Net) abandon(conns []*conn) {
	ways := make(map[*Link]bool)
	for _, c := range conns {
		if c.vanish() {
			ways[n.Link(c.link.to, c.link.from)] = true
		}
	}
	for l := range ways {
		for _, c := range l.conns() {
			n.pair(c)
		}
	}
}

// vanish has this end vanish, unless it is of no use any more.
func (c *conn) vanish() bool {
	c.mu.Lock()
	ended := c.writeEnd
	c.mu.Unlock()
	gone := c.probe(ended)
	c.mu.Lock()
	c.dead = c.dead || gone != nil
	if c.dead || c.vanished || c.finished {
		over := c.dead && c.closing
		c.mu.Unlock()
		if over {
			c.drop()
		}
		return false
	}
	c.vanished = true
	c.queued.Store(true)
	c.flow().drop()
	if c.out.lifetime != nil {
		c.out.lifetime.Stop()
	}
	c.mu.Unlock()
	n := c.member.net
	n.mu.Lock()
	stale := n.orphaned[*c.remote]
	n.orphaned[*c.remote] = c
	n.mu.Unlock()
	if stale != nil {
		stale.drop()
	}
	return true
}

// probe returns the error of a carrier whose other end is known to be closed. An empty Write tells that, on a pipe; the
// operating system's it might keep waiting for others, and would not tell. ended tells whether this end has half closed.
func (c *conn) probe(ended bool) error {
	if _, ok := c.carrier.(syscall.Conn); ok {
		return nil
	}
	_, err := c.carrier.Write(nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if ended && errors.Is(err, syscall.EPIPE) {
		return nil // which is this end's own doing, as far as is known
	}
	return err
}

// drop ends a connection whose other end is gone. Who sees that on this end all the same is on a host about to go down.
func (c *conn) drop() { c.abort(virtnet.ErrHostDown, virtnet.ErrHostDown, c.resetCarrier) }

// abandonedBy returns the end that has vanished whose other end is at an address. If it isn't the other end of a connection
// to remote it is gone, and what is left of it goes: always, if that is nil.
func (n *Net) abandonedBy(at, remote *virtnet.Addr) *conn {
	n.mu.Lock()
	c := n.orphaned[*at]
	n.mu.Unlock()
	if c != nil && (remote == nil || *c.local != *remote) {
		c.drop()
		return nil
	}
	return c
}

// pair makes a connection an orphan if its other end has vanished.
func (n *Net) pair(c *conn) {
	gone := n.abandonedBy(c.local, c.remote)
	if gone == nil {
		return
	}
	gone.mu.Lock()
	gone.other = c
	gone.mu.Unlock()
	c.mu.Lock()
	c.orphan = true
	c.queued.Store(true)
	nobody := c.vanished || c.finished
	c.mu.Unlock()
	if nobody {
		gone.drop()
	}
}

// lost is called when something that an orphan has sent has arrived.
func (n *Net) lost(c *conn) {
	if !n.up(c.local.Net, c.remote.Host) {
		return
	}
	if gone := n.abandonedBy(c.local, c.remote); gone != nil {
		gone.answer()
	}
}

// answer sends a reset, if that is not on the way already.
func (c *conn) answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished && c.other != nil && len(c.out.queue) == 0 {
		c.put(nil, endReset)
	}
}

// mourn forgets a connection that is closed: if it has vanished, or is an orphan.
func (n *Net) mourn(c *conn) {
	c.mu.Lock()
	orphan := c.other
	c.mu.Unlock()
	n.mu.Lock()
	if n.orphaned[*c.remote] == c {
		delete(n.orphaned, *c.remote)
	}
	gone := n.orphaned[*c.local]
	n.mu.Unlock()
	if orphan != nil { // from now on it sees what its carrier says
		orphan.mu.Lock()
		orphan.orphan = false
		orphan.mu.Unlock()
	}
	if gone == nil {
		return
	}
	gone.mu.Lock()
	mine := gone.other == c
	gone.mu.Unlock()
	if mine {
		gone.drop()
	}
}
