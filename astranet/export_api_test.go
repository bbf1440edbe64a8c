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
