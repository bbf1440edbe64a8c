package netem

import (
	"cmp"
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
	shaping  atomic.Bool
	crashes  atomic.Int32 // hosts that are crashing now
	vanished atomic.Bool  // a host has vanished, at some time

	// recent has links that were looked up lately, by a hash of their names: dials between the same hosts need no lock.
	recent [256]atomic.Pointer[Link]

	adopting sync.Mutex // taken before any other lock of the package, and before those of the core; see adopt

	mu       sync.Mutex // taken before those of links and connections
	defaults *Rules
	crashing map[station]crash
	crashed  map[station]crash // how each host has gone that ever has
	splits   []*Partition      // those not healed
	swizzles uint64
	links    map[pair]*Link
	members  []*member              // those of the sub-networks that are not down
	orphaned map[virtnet.Addr]*conn // see vanish.go
}

type pair struct{ from, to string }

// station is a host of one of the networks that have the Net.
type station struct{ network, host string }

var _ virtnet.Emulator = (*Net)(nil)

// New makes a Net with that seed.
func New(seed uint64) *Net { return Config{Seed: seed}.New() }

// New makes a Net with these settings.
func (c Config) New() *Net {
	return &Net{
		seed:     c.Seed,
		defaults: new(Rules),
		crashing: make(map[station]crash),
		crashed:  make(map[station]crash),
		links:    make(map[pair]*Link),
		orphaned: make(map[virtnet.Addr]*conn),
	}
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
		if !l.passes() || (*l.rules != Rules{}) {
			l.shaped.Store(true)
			l.listed.Store(true) // it has no connections yet
			l.adopted.Store(true)
		}
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

// those returns the links that are wanted, by the names of their hosts.
func (n *Net) those(wanted func(*Link) bool) []*Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.thoseLocked(wanted)
}

// thoseLocked is those, called with mu held. It sorts only what is wanted, which of very many links are few.
func (n *Net) thoseLocked(wanted func(*Link) bool) []*Link {
	var all []*Link
	for _, l := range n.links {
		if wanted(l) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *Link) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return all
}

func anyLink(*Link) bool { return true }

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
	n.defaults = &r
	links := n.thoseLocked(anyLink)
	n.mu.Unlock()
	n.adopt(links)
	for _, l := range links {
		l.inherit()
	}
	return nil
}

// Attach is for the network that has the Net as its Emulator.
func (n *Net) Attach(subnet *virtnet.SubNetwork, shape func(from string, to func(host string) bool)) virtnet.Shaper {
	m := &member{net: n, subnet: subnet, shape: shape}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members = append(n.members, m)
	return m
}

func (n *Net) allMembers() []*member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.members)
}

// up tells whether a host is there, on a network.
func (n *Net) up(network, host string) bool {
	return slices.ContainsFunc(n.allMembers(), func(m *member) bool {
		return m.subnet.Network() == network && m.subnet.Host(host) != nil
	})
}

// member is the Shaper of one sub-network.
type member struct {
	net    *Net
	subnet *virtnet.SubNetwork
	shape  func(from string, to func(host string) bool) // has Shape called for connections that are there
	// down is set before the connections are aborted, so that who closes one later does it at once.
	down atomic.Bool
}

var _ virtnet.Shaper = (*member)(nil)

// Conn counts a new connection. It is shaped at once if the link is asked anything, or the host crashes just now.
func (m *member) Conn(c *virtnet.Conn, dialled bool) (uint64, virtnet.Shaped) {
	local, remote := addrOf(c.LocalAddr()), addrOf(c.RemoteAddr())
	l := m.net.Link(local.Host, remote.Host)
	number := l.number(dialled, local, remote)
	if !dialled && m.net.vanished.Load() {
		m.net.abandonedBy(local, nil) // this connection is another
	}
	if l.listed.Load() || l.shaped.Load() || m.net.crashes.Load() > 0 || m.net.vanished.Load() {
		return number, newConn(m, c, l, number)
	}
	return number, nil
}

func (m *member) Shape(c *virtnet.Conn, number uint64) virtnet.Shaped {
	return newConn(m, c, m.net.Link(addrOf(c.LocalAddr()).Host, addrOf(c.RemoteAddr()).Host), number)
}

// Down aborts what the sub-network's connections have left on the way.
func (m *member) Down() {
	m.down.Store(true)
	n := m.net
	n.mu.Lock()
	n.members = slices.DeleteFunc(n.members, func(other *member) bool { return other == m })
	n.mu.Unlock()
	for _, l := range n.those((*Link).knowsAny) {
		for _, c := range l.known() {
			if c.member == m {
				c.goDown()
			}
		}
	}
}

func addrOf(a net.Addr) *virtnet.Addr { return a.(*virtnet.Addr) }
