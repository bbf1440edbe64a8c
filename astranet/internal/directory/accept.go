package directory

import (
	"fmt"
	"slices"
)

// accept takes an entry that is verified: it keeps it and passes it on, if it is news and nothing is against it. It came from a
// neighbour.
func (d *Directory) accept(e *entry, from *Feed) {
	known := d.nodes[e.id]
	switch {
	case e.id == d.id:
		d.meetSelf(e)
	case known == nil:
		if err := d.room(e); err != nil {
			d.report(fmt.Errorf("node %x, %q: %w", e.id, e.name, err))
			return
		}
		d.replace(e, from)
	case known.name != e.name:
		d.report(fmt.Errorf("node %x is %q, and %q claims to be: %w", e.id, known.name, e.name, ErrConflict))
	case !e.stamp.newer(known.stamp): // it was news when it came
	case d.bytes+e.size-known.size > d.cfg.Limits.Bytes:
		d.report(fmt.Errorf("node %x, %q: %w", e.id, e.name, ErrNoRoom))
	default:
		d.replace(e, from)
	}
}

// meetSelf has this node say anew what it is, if others have something newer of it. As in OSPF no clock is needed for that.
func (d *Directory) meetSelf(e *entry) {
	if e.name != d.cfg.Name {
		d.report(fmt.Errorf("node %x is this one, and %q claims to be: %w", e.id, e.name, ErrConflict))
		return
	}
	if r := d.nodes[d.id]; r != nil && !e.stamp.newer(r.stamp) {
		return
	}
	d.outdo(e.version)
}

// room makes room for a new node, if need be by forgetting some that are gone.
func (d *Directory) room(e *entry) error {
	l := d.cfg.Limits
	full := func() bool { return len(d.nodes) >= l.Nodes || d.bytes+e.size > l.Bytes }
	crowded := func() bool { return e.name != "" && d.ids[e.name] >= l.IDs }
	if full() || crowded() {
		d.settle()
	}
	for crowded() {
		if !d.evict(func(r *record) bool { return r.name == e.name }) {
			return fmt.Errorf("%d nodes have that name: %w", l.IDs, ErrNoRoom)
		}
	}
	for full() {
		if !d.evict(func(*record) bool { return true }) {
			return ErrNoRoom
		}
	}
	return nil
}

// replace keeps an entry instead of what was known, and owes it to all neighbours but the one it came from.
func (d *Directory) replace(e *entry, from *Feed) {
	r := d.nodes[e.id]
	var old *entry
	if r == nil {
		r = &record{gone: d.now}
		d.nodes[e.id] = r
		i, _ := slices.BinarySearch(d.order, e.id)
		d.order = slices.Insert(d.order, i, e.id)
		d.ids[e.name]++
	} else {
		old = r.entry
		d.bytes -= old.size
	}
	r.entry = e
	d.bytes += e.size
	if old == nil || old.flags != e.flags || !slices.Equal(old.links, e.links) {
		d.stale = true
	}
	if r.reachable {
		d.index.change(old.services(e), e.services(old))
	}
	since := uint64(0)
	if old != nil {
		since = e.stamp.since(old.stamp)
	}
	for _, f := range d.feeds {
		if f == from {
			f.has(e.id)
		} else {
			f.owe(e.id, since)
		}
	}
	d.wakeSkippers()
}

// wakeSkippers has those look who wait for a node to become reachable.
func (d *Directory) wakeSkippers() {
	for _, f := range d.feeds {
		if d.stale && len(f.skipped) > 0 {
			f.wake()
		}
	}
}

// remove forgets a node.
func (d *Directory) remove(r *record) {
	if r.reachable {
		d.index.change(r.services(nil), nil)
		d.stale = true
	}
	delete(d.nodes, r.id)
	if i, found := slices.BinarySearch(d.order, r.id); found {
		d.order = slices.Delete(d.order, i, i+1)
	}
	if d.ids[r.name]--; d.ids[r.name] == 0 {
		delete(d.ids, r.name)
	}
	d.bytes -= r.size
	for _, f := range d.feeds {
		f.has(r.id)
	}
}
