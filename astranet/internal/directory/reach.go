package directory

import "github.com/virtnet/virtnet/astranet/internal/route"

// settle brings up to date what depends on entries: this node's own is published, nodes become reachable or not, and their services
// appear or vanish. It is done when somebody looks, so that many changes are one.
func (d *Directory) settle() {
	d.publish()
	if !d.stale {
		return
	}
	d.stale = false
	claims := make([]route.Claim, len(d.order))
	for i, id := range d.order {
		r := d.nodes[id]
		claims[i] = route.Claim{ID: id, Relay: r.flags&Relay != 0, Draining: r.flags&Draining != 0, Links: r.links}
	}
	d.graph = route.NewGraph(claims)
	reached := make(map[uint64]bool, len(claims))
	d.graph.Reached(d.id, func(id uint64) { reached[id] = true })
	for _, id := range d.order {
		d.setReachable(d.nodes[id], reached[id])
	}
	d.supersede()
}

func (d *Directory) setReachable(r *record, reachable bool) {
	if r.reachable == reachable {
		return
	}
	r.reachable = reachable
	if !reachable {
		d.index.change(r.services(nil), nil)
		r.gone = d.now
		return
	}
	d.index.change(nil, r.services(nil))
	for _, f := range d.feeds {
		if f.skipped[r.id] {
			f.owe(r.id, 0)
		}
	}
}

// supersede forgets what a node was in former lives, under other ids: the nodes that are gone while another with their name is there.
func (d *Directory) supersede() {
	there := make(map[string]bool)
	for _, r := range d.nodes {
		if r.reachable && r.name != "" && d.ids[r.name] > 1 {
			there[r.name] = true
		}
	}
	if len(there) > 0 {
		d.forget(func(r *record) bool { return there[r.name] })
	}
}

// gone returns how many nodes cannot be reached.
func (d *Directory) gone() (n int) {
	for _, r := range d.nodes {
		if !r.reachable {
			n++
		}
	}
	return n
}

// forget forgets those of the nodes gone that it is true for.
func (d *Directory) forget(which func(*record) bool) {
	for _, r := range d.nodes {
		if !r.reachable && r.id != d.id && which(r) {
			d.remove(r)
		}
	}
}

// evict forgets that of the nodes gone, and for which it is true, which has been gone the longest. It tells whether there was one.
func (d *Directory) evict(which func(*record) bool) bool {
	var oldest *record
	for _, id := range d.order {
		r := d.nodes[id]
		if !r.reachable && id != d.id && which(r) && (oldest == nil || r.gone.Before(oldest.gone)) {
			oldest = r
		}
	}
	if oldest != nil {
		d.remove(oldest)
	}
	return oldest != nil
}
