package virtnet

import (
	"bytes"
	"crypto/sha256"
	"net"
	"net/netip"
	"sync"

	"github.com/virtnet/virtnet/internal/hostname"
)

// Addresses of hosts are in fd00::/8, which is private. The second byte says how the name is in the rest.
const (
	ipPrivate = 0xfd
	ipName    = 0x76 // the name itself, padded with zeros, which no name contains
	ipHash    = 0x77 // the beginning of the name's SHA-256

	ipRoom = 14 // bytes of an address that are left for the name
)

// HostIP returns the IPv6 address of the host with that name, for code that insists on resolving names before it
// dials: [Host.Dial] and [Host.Listen] take it in place of the name. It is the same on every network, in every
// process, always, whether there is such a host or not.
//
// A name of up to 14 bytes is in the address itself, behind fd76::/16: α's is fd76:ceb1::, and any process can turn
// it back. A longer name is there as a hash, behind fd77::/16. A sub-network can turn that back if the name is
// of a host of its own, or one of the last few thousand long names it has looked up or dialled.
//
// A name that no host can have has the zero Addr.
func HostIP(name string) netip.Addr {
	if hostname.Check(name) != nil {
		return netip.Addr{}
	}
	return hostIP(name)
}

// hostIP is HostIP for a valid name.
func hostIP(name string) netip.Addr {
	b := [16]byte{ipPrivate, ipName}
	if len(name) <= ipRoom {
		copy(b[2:], name)
	} else {
		b[1] = ipHash
		var buf [256]byte // room for every valid name, so that it is not allocated
		sum := sha256.Sum256(append(buf[:0], name...))
		copy(b[2:], sum[:])
	}
	return netip.AddrFrom16(b)
}

// nameOf returns the name whose address is ip, or "".
func (n *SubNetwork) nameOf(ip netip.Addr) string {
	if !ip.Is6() || ip.Zone() != "" {
		return ""
	}
	b := ip.As16()
	switch [2]byte(b[:2]) {
	case [2]byte{ipPrivate, ipName}:
		name := string(bytes.TrimRight(b[2:], "\x00"))
		if hostname.Check(name) == nil {
			return name
		}
	case [2]byte{ipPrivate, ipHash}:
		return n.longName(ip)
	}
	return ""
}

// longName returns the long name whose address is ip, or "" if it is not known here.
func (n *SubNetwork) longName(ip netip.Addr) string {
	name := n.longNames.of(ip)
	if name == "" {
		name = n.ownLongName(ip)
		n.longNames.use(name)
	}
	return name
}

// ownLongName is longName for the sub-network's own hosts. They are not listed by address, for few are ever asked for.
func (n *SubNetwork) ownLongName(ip netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.hosts {
		if len(name) > ipRoom && hostIP(name) == ip {
			return name
		}
	}
	return ""
}

// isIP tells whether the host of an address could be that of HostIP. It is asked at every dial, so it is quick:
// only a literal IPv6 address has a colon in it, and the first group of ours has four digits.
func isIP(host string) bool { return len(host) > 4 && host[4] == ':' }

// nameIP gives a its host's name, if its host is an address of HostIP. It fails if that is nobody's, as far
// as can be known here.
func (n *SubNetwork) nameIP(a *Addr) error {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil {
		return nil // a name as any other, though no host can have it
	}
	if name := n.nameOf(ip); name != "" {
		a.Host = name
		return nil
	}
	return &noHostAt{net.AddrError{Err: ErrNoHost.Error(), Addr: a.String()}}
}

// longNames has the last names used that are too long to be in an address, by their address. The zero value is
// ready to use.
type longNames struct {
	mu sync.Mutex // never held while waiting
	// Names move to recent when they are used. When that is full it becomes the older, which is forgotten.
	recent, older map[netip.Addr]string
}

// longNamesHalf bounds each half of longNames.
const longNamesHalf = 4096

// use remembers name, if it is long.
func (l *longNames) use(name string) {
	if len(name) > ipRoom {
		l.add(hostIP(name), name)
	}
}

func (l *longNames) add(ip netip.Addr, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(ip, name)
}

// addLocked is add with mu held.
func (l *longNames) addLocked(ip netip.Addr, name string) {
	if l.recent[ip] != "" {
		return
	}
	if l.recent == nil || len(l.recent) >= longNamesHalf {
		l.recent, l.older = make(map[netip.Addr]string), l.recent
	}
	l.recent[ip] = name
}

// of returns the name with that address, or "".
func (l *longNames) of(ip netip.Addr) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.recent[ip]
	if name == "" {
		if name = l.older[ip]; name != "" {
			l.addLocked(ip, name)
		}
	}
	return name
}
