package directory

import (
	"cmp"
	"math"
	"slices"
)

// A Feed is how a Directory and that of a neighbour become equal. There is one for each link, on each end, and each sends what Next
// returns to the other's Receive, in that order.
type Feed struct {
	d    *Directory
	wake func()

	// Guarded by d.mu.
	closed  bool
	greet   bool              // a digest is to be sent
	greeted uint64            // from this node on
	owed    map[uint64]uint64 // the nodes that the neighbour is to be told of: what has changed since which version; or nothing
	queue   []uint64          // the same, in the order in which they came
	skipped map[uint64]bool   // the nodes that the neighbour does not know, and that could not be reached when it said so
	wants   []uint64          // the nodes that the neighbour is to send whole
	sending []*page           // what is left of an entry

	in incoming // of Receive
}

// Open returns a Feed for a new link, which begins with a digest. When there is something to send wake is called, perhaps in vain; it
// must neither block nor call the Directory.
func (d *Directory) Open(wake func()) *Feed {
	d.mu.Lock()
	defer d.unlock()
	f := &Feed{d: d, wake: wake, greet: true, owed: make(map[uint64]uint64), skipped: make(map[uint64]bool)}
	d.feeds = append(d.feeds, f)
	f.wake()
	return f
}

// Close ends a Feed: its link is gone.
func (f *Feed) Close() {
	f.d.mu.Lock()
	defer f.d.unlock()
	f.closed = true
	f.d.feeds = slices.DeleteFunc(f.d.feeds, func(o *Feed) bool { return o == f })
}

// Greet sends a digest again, so that the neighbour sends what is missing here: what was not believed before, say, or had no room.
func (f *Feed) Greet() {
	f.d.mu.Lock()
	defer f.d.unlock()
	f.greet, f.greeted = true, 0
	f.wake()
}

// Next appends the next message to b, and returns b as it was if there is none now.
func (f *Feed) Next(b []byte) []byte {
	d := f.d
	d.mu.Lock()
	defer d.unlock()
	if f.closed {
		return b
	}
	d.publish()
	if len(f.skipped) > 0 {
		d.settle() // some may be reachable by now
	}
	switch {
	case len(f.sending) > 0: // the pages of an entry follow its head
		p := f.sending[0]
		f.sending = f.sending[1:]
		return append(append(b, msgPage), p.raw...)
	case len(f.wants) > 0:
		n := min(len(f.wants), maxDigest)
		b = appendWant(b, f.wants[:n])
		f.wants = slices.Delete(f.wants, 0, n)
		return b
	case f.greet:
		return f.nextDigest().append(b)
	}
	return f.nextEntry(b)
}

func (f *Feed) nextDigest() digest {
	order := f.d.order
	i, _ := slices.BinarySearch(order, f.greeted)
	order = order[i:]
	g := digest{first: f.greeted, last: math.MaxUint64}
	if f.greet = len(order) > maxDigest; f.greet {
		order = order[:maxDigest]
		g.last = order[maxDigest-1]
		f.greeted = g.last + 1
	}
	for _, id := range order {
		g.all = append(g.all, have{id, f.d.nodes[id].stamp})
	}
	return g
}

func (f *Feed) nextEntry(b []byte) []byte {
	for len(f.queue) > 0 {
		id := f.queue[0]
		f.queue = f.queue[1:]
		since := f.owed[id]
		delete(f.owed, id)
		if r := f.d.nodes[id]; r != nil && since != nothing {
			f.sending = r.changed(since)
			return appendHead(b, r.entry, len(f.sending))
		}
	}
	return b
}

// owe has the neighbour told of a node what has changed since a version, 0 being everything. It is called with d.mu held, as are the
// following.
func (f *Feed) owe(id, since uint64) {
	old, queued := f.owed[id]
	if !queued {
		f.queue = append(f.queue, id)
		old = nothing
	}
	f.owed[id] = min(old, since)
	delete(f.skipped, id)
	f.wake()
}

// nothing is owed of a node that is in the queue, and needs not be there any more.
const nothing = math.MaxUint64

// has notes that the neighbour knows of a node what is known here.
func (f *Feed) has(id uint64) {
	if _, queued := f.owed[id]; queued {
		f.owed[id] = nothing
	}
	delete(f.skipped, id)
}

// compare finds out what the neighbour lacks. It is told of nodes that it does not know if they can be reached: else two neighbours
// would remind each other of the dead for ever. What it has an older version of it knows, and is told in any case: so a node
// hears of its former life.
func (f *Feed) compare(g digest) {
	d := f.d
	d.settle()
	i, _ := slices.BinarySearch(d.order, g.first)
	for _, id := range d.order[i:] {
		if id > g.last {
			break
		}
		r := d.nodes[id]
		j, known := slices.BinarySearchFunc(g.all, id, func(h have, id uint64) int { return cmp.Compare(h.id, id) })
		switch {
		case known && r.stamp.newer(g.all[j].stamp):
			f.owe(id, r.stamp.since(g.all[j].stamp))
		case known:
			f.has(id)
		case r.reachable:
			f.owe(id, 0)
		default:
			f.skipped[id] = true
		}
	}
}

// want asks the neighbour for all of a node.
func (f *Feed) want(id uint64) {
	if len(f.wants) < maxDigest && !slices.Contains(f.wants, id) {
		f.wants = append(f.wants, id)
		f.wake()
	}
}
