package netem

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/virtnet/virtnet"
)

// Config has the settings of a Net. The zero value is what [New] uses, with seed 0.
type Config struct {
	// Seed is where all randomness comes from. The same seed gives the same delays and losses to a program that sends the
	// same.
	Seed uint64
}

// A Net has the links of a network, and is what the Config of the network takes as its Emulator. Without rules
// nothing is any different.
//
// Its methods are safe for concurrent use.
type Net struct {
	seed uint64

	// shaping tells that there was a rule for something: until then dials do not look for their links.
	shaping atomic.Bool
	crashes atomic.Int32 // hosts that are crashing now

	// recent has links that were looked up lately, by a hash of their names: dials between the same hosts need no lock.
	recent [256]atomic.Pointer[Link]

	mu       sync.Mutex // taken before any other lock of the package
	defaults *Rules
	crashing map[string]crash
	splits   []*Partition // those not healed
	swizzles uint64
	links    map[pair]*Link
}

type pair struct{ from, to string }

var _ virtnet.Emulator = (*Net)(nil)

// New makes a Net with that seed.
func New(seed uint64) *Net { return Config{Seed: seed}.New() }

// New makes a Net with these settings.
func (c Config) New() *Net {
	n := &Net{seed: c.Seed, defaults: new(Rules), crashing: make(map[string]crash), links: make(map[pair]*Link)}
	return n
}

// Seed returns the seed.
func (n *Net) Seed() uint64 { return n.seed }

// Link returns the link from one host to another.
func (n *Net) Link(from, to string) *Link {
	slot := &n.recent[slotOf(from, to)]
	if l := slot.Load(); l != nil && l.from == from && l.to == to {
		return l
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[pair{from, to}]
	if l == nil {
		l = &Link{net: n, from: from, to: to, rand: newStream(n.seed, from, to), rules: n.defaults}
		for _, p := range n.splits {
			if p.cuts(from, to) {
				l.parts++
			}
		}
		l.shaped.Store(!l.open() || *l.rules != Rules{})
		n.links[pair{from, to}] = l
	}
	slot.Store(l)
	return l
}

// slotOf hashes two names, quickly: most names differ in their last byte, or in the one before.
func slotOf(from, to string) uint8 { return 31*tail(from) + tail(to) }

func tail(name string) uint8 {
	switch k := len(name); k {
	case 0:
		return 0
	case 1:
		return name[0]
	default:
		return name[k-1] + 10*name[k-2]
	}
}

// all returns the links that there are, by the names of their hosts.
func (n *Net) all() []*Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.allLocked()
}

// allLocked is all, called with mu held.
func (n *Net) allLocked() []*Link {
	all := slices.Collect(maps.Values(n.links))
	slices.SortFunc(all, func(a, b *Link) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return all
}

// Both returns the links between two hosts, there and back.
func (n *Net) Both(a, b string) []*Link { return []*Link{n.Link(a, b), n.Link(b, a)} }

// SetAll sets the rules of all links that have none of their own, also of those to come. The error tells what is
// wrong with them.
func (n *Net) SetAll(r Rules) error {
	if err := r.Check(); err != nil {
		return err
	}
	n.shaping.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.defaults = &r
	for _, l := range n.allLocked() {
		l.inherit(&r)
	}
	return nil
}

// Attach is for the network that has the Net as its Emulator.
func (n *Net) Attach(network string) virtnet.Shaper { return &member{net: n} }

// member is the Shaper of one sub-network.
type member struct {
	net  *Net
	down atomic.Bool // set before the connections are aborted, so that who closes one later does it at once
}

var _ virtnet.Shaper = (*member)(nil)

func (m *member) Conn(carrier net.Conn, local, remote *virtnet.Addr, dialled bool) net.Conn {
	return newConn(m, carrier, m.net.Link(local.Host, remote.Host), dialled)
}

// Down aborts what the sub-network's connections have left on the way.
func (m *member) Down() {
	m.down.Store(true)
	for _, l := range m.net.all() {
		for _, c := range l.conns() {
			if c.member == m {
				c.abort(net.ErrClosed, net.ErrClosed, c.carrier.Close)
			}
		}
	}
}
