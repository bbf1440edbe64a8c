package astranet

import "github.com/virtnet/virtnet/astranet/ca"

// ShownBy returns the serial number of the certificate that the node with that id has shown on the link in use, "" if there is none.
func ShownBy(a AstraNet, id uint64) string {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil && len(p.links) > 0 {
		return ca.Serial(p.links[0].identity.Chain[0].SerialNumber)
	}
	return ""
}

// Announce has a node tell another one of services, whether it has them or not.
func Announce(a AstraNet, id uint64, services ...ServiceId) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil && len(p.links) > 0 {
		for _, s := range services {
			p.links[0].announceLocked(s, true)
		}
	}
}

// KnownOf returns how many services a node has taken notice of that another one has told, whether it shows them or not.
func KnownOf(a AstraNet, id uint64) int {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil {
		return len(p.services)
	}
	return 0
}
