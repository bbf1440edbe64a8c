package astranet

import "fmt"

// A Linkage is a link, as its end sees it.
type Linkage struct {
	Local, Remote    string
	Dialled, Standby bool
	Number           uint64
}

// LinksWith returns the links that a node has with another.
func LinksWith(a AstraNet, id uint64) (all []Linkage) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil {
		for _, l := range p.links {
			all = append(all, Linkage{fmt.Sprint(l.conn.LocalAddr()), fmt.Sprint(l.conn.RemoteAddr()), l.dialled, l.standby, l.number})
		}
	}
	return all
}

// HalfOpenNow returns how many connections have come to a node that are no links yet.
func HalfOpenNow(a AstraNet) int {
	w := a.(*node).waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends)
}

// Peers returns how many other nodes a node keeps something of.
func Peers(a AstraNet) int {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.peers)
}
