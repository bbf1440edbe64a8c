package astranet

// Sessions returns how many sessions a node has.
func Sessions(a AstraNet) (all int) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		all += len(p.sessions)
	}
	return all
}

// Asking returns how many dials of a node wait for an answer.
func Asking(a AstraNet) (all int) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		all += len(p.asking)
	}
	return all
}

// CutLinks closes the connections of a node's links.
func CutLinks(a AstraNet) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		for _, l := range p.links {
			_ = l.conn.Close()
		}
	}
}
