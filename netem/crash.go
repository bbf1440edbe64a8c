package netem

import (
	"errors"
	"slices"

	"github.com/virtnet/virtnet"
)

// crash is how a host goes down.
type crash uint8

const (
	noCrash     crash = iota
	crashReset        // its connections are reset
	crashSilent       // the other ends hear nothing
)

// Reset resets the connections that have the sending host's end on the link: both ends fail with an error that
// matches syscall.ECONNRESET, and what is on the way is lost, both ways. On a network of several processes it resets
// those of this one.
func (l *Link) Reset() {
	for _, c := range l.conns() {
		c.reset()
	}
}

// Sever has nothing of the present connections arrive any more on this link, not even their end, whatever happens to the
// rules: done on one way of two, or both, it makes connections that are half open. Later connections are as always.
func (l *Link) Sever() {
	l.net.shaping.Store(true)
	for _, c := range l.conns() {
		c.severNow()
	}
}

func (c *conn) severNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.severed = true
	c.queued.Store(true) // from now on nothing goes straight to the carrier
}

// Crash closes the host as a crash does: its connections are reset, also those that it had closed and that have
// something on the way, its listeners are gone, and its name is free for the host that starts again. Until there is one a
// dial is refused, after the latencies of both ways, as by a machine on which nothing runs. It is an error if h is nil.
func (n *Net) Crash(h *virtnet.Host) error { return n.crash(h, crashReset) }

// Vanish closes the host as a power cut does: the other ends of its connections hear nothing of it, and what they send is
// lost. They end when they are closed there, by Reset, or with the network; and once there is a host of that name again,
// they are reset when they send something, after the latencies of both ways: it does not know them. On a network of several
// processes this reset is for the connections within this one. Until there is such a host a dial waits, and asks again after 1, 3,
// 7, 15 s and so on, as TCP does. It is an error if h is nil.
func (n *Net) Vanish(h *virtnet.Host) error { return n.crash(h, crashSilent) }

func (n *Net) crash(h *virtnet.Host, how crash) error {
	if h == nil {
		return errors.New("netem: there is no host to crash: the one given is nil")
	}
	if how == crashSilent {
		n.vanished.Store(true)
	}
	is := station{h.Network(), h.Name()}
	n.shaping.Store(true)
	n.mu.Lock()
	n.crashing[is] = how
	n.crashed[is] = how
	n.mu.Unlock()
	n.crashes.Add(1)
	var before []*conn // also those that are closed and linger; a host that starts again meanwhile has others
	links := n.those(func(l *Link) bool { return l.from == h.Name() })
	n.adopt(links)
	for _, l := range links {
		before = append(before, l.known()...)
	}
	before = slices.DeleteFunc(before, func(c *conn) bool { return c.local.Net != is.network })
	if how == crashSilent {
		n.abandon(before)
	}
	err := h.Close()
	if how == crashReset {
		for _, c := range before {
			c.crash()
		}
	}
	n.crashes.Add(-1)
	n.mu.Lock()
	delete(n.crashing, is)
	n.mu.Unlock()
	return err
}

// crash resets the connection, unless the host that has crashed is a later one of the same name.
func (c *conn) crash() {
	c.mu.Lock()
	other := c.vanished
	c.mu.Unlock()
	if !other {
		c.reset()
	}
}

// crashOf tells whether the host of an address is crashing, and how.
func (n *Net) crashOf(a *virtnet.Addr) crash {
	if n.crashes.Load() == 0 {
		return noCrash
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.crashing[station{a.Net, a.Host}]
}
