package netem

// adopt gets the connections of links from the core, once: who has many links does so for all of them first, since the
// core looks at everything that a sending host has.
func (n *Net) adopt(links []*Link) {
	adopted := func(l *Link) bool { return l.adopted.Load() }
	if len(links) == 0 || len(links) == 1 && adopted(links[0]) {
		return
	}
	n.adopting.Lock()
	defer n.adopting.Unlock()
	to := make(map[string]map[string]bool)
	for _, l := range links {
		if adopted(l) {
			continue
		}
		l.listed.Store(true)
		if to[l.from] == nil {
			to[l.from] = make(map[string]bool)
		}
		to[l.from][l.to] = true
	}
	for _, m := range n.allMembers() {
		for from, hosts := range to {
			m.shape(from, func(host string) bool { return hosts[host] })
		}
	}
	for _, l := range links {
		l.adopted.Store(true)
	}
}

// knowsAny tells whether known has any.
func (l *Link) knowsAny() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0
}
