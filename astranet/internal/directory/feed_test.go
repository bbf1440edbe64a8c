package directory

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
)

// heads returns the ids of the nodes that messages tell of.
func heads(t *testing.T, msgs [][]byte) (ids []uint64) {
	t.Helper()
	for _, msg := range msgs {
		if msg[0] == msgHead {
			m, err := decodeHeadMessage(string(msg[1:]))
			must(t, err)
			ids = append(ids, m.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// knowing returns the Directory of node 1, linked with 3, and what 2 and 3 say, which are linked with each other.
func knowing(t *testing.T) (d *Directory, two, three [][]byte) {
	t.Helper()
	d = newSealed(1, "one")
	x, y := newSealed(2, "two"), newSealed(3, "three")
	y.SetFlags(Relay)
	for _, err := range []error{d.SetLink(3, 1), x.SetLink(3, 1), y.SetLink(2, 1), y.SetLink(1, 1)} {
		must(t, err)
	}
	return d, entries(t, x), entries(t, y)
}

// Who does not know a node is not told of it while it cannot be reached, else the dead would never be forgotten; and as soon as it can be.
func TestNotToldOfTheDead(t *testing.T) {
	d, two, three := knowing(t)
	source, other := open(d), open(d)
	must(t, feed(source, two))
	drain(other) // told at once, since it was news
	other.Close()

	other = open(d)
	must(t, other.Receive(digest{last: math.MaxUint64}.append(nil)))
	if got := heads(t, drain(other)); !slices.Equal(got, []uint64{1}) {
		t.Errorf("told of %v, want only of 1", got)
	}
	must(t, feed(source, three))
	if got := heads(t, drain(other)); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("when 2 can be reached: told of %v, want 2 and 3", got)
	}
}

// Who knows an older version of a node that cannot be reached is told: it may be that node's neighbour.
func TestToldOfAnOldVersion(t *testing.T) {
	d, two, _ := knowing(t)
	must(t, feed(open(d), two))
	f := open(d)
	must(t, f.Receive(digest{last: math.MaxUint64, all: []have{{2, stamp{0, 1}}}}.append(nil)))
	if got := heads(t, drain(f)); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("told of %v, want 1 and 2", got)
	}
}

// What a neighbour has said it has is not sent to it, though it be in the queue.
func TestNotToldTwice(t *testing.T) {
	d, two, _ := knowing(t)
	source, other := open(d), open(d)
	must(t, feed(source, two))
	must(t, feed(other, two))
	if got := heads(t, drain(other)); !slices.Equal(got, []uint64{1}) {
		t.Errorf("told of %v, want only of 1", got)
	}
	d.consistent(t)
}

// A node that hears of its former life sends all its pages as new ones.
func TestFormerLife(t *testing.T) {
	old, v := newSealed(2, "two"), newSealed(1, "one")
	for i := range 10 {
		must(t, old.Put(serviceNo(i)))
		entries(t, old)
	}
	must(t, feed(open(v), entries(t, old)))
	again := newSealed(2, "two")
	must(t, again.Put(serviceNo(77)))
	f, back := open(again), open(v)
	drain(f)
	must(t, feed(back, entries(t, again)))
	for _, msg := range drain(back) { // the old life, and the digest
		must(t, f.Receive(msg))
	}
	msgs := drain(f)
	if got := heads(t, msgs); !slices.Equal(got, []uint64{2}) {
		t.Fatalf("told of %v, want 2", got)
	}
	must(t, feed(back, msgs))
	if n, _ := v.Node(2); n.Version != 11 {
		t.Errorf("version %d, want 11, above that of the former life", n.Version)
	}
}

// A digest of many nodes is several messages.
func TestLongDigest(t *testing.T) {
	a, b := New(Config{ID: 1, Life: 1}, epoch), New(Config{ID: 2, Life: 1}, epoch)
	must(t, a.SetLink(2, 1))
	must(t, b.SetLink(1, 1))
	source := open(a)
	a.SetFlags(Relay)
	for i := range uint64(2500) {
		d := New(Config{ID: 10 + i, Life: 1}, epoch)
		must(t, d.SetLink(1, 1))
		must(t, feed(source, entries(t, d)))
		must(t, a.SetLink(10+i, 1))
	}
	source.Close()
	talk := pair(t, a, b)
	talk()
	if len(b.nodes) != 2502 {
		t.Errorf("%d nodes, want 2502", len(b.nodes))
	}
	for _, d := range []*Directory{a, b} {
		f := open(d)
		defer f.Close()
	}
	talk()
	b.consistent(t)
}

// What it takes to know a node with 3 links and 10 services, of 1,000 such.
func BenchmarkMemory(b *testing.B) {
	const nodes = 1000
	var msgs [][]byte
	for i := range nodes {
		d := New(Config{ID: uint64(10 + i), Life: 1}, epoch)
		for j := range 3 {
			_ = d.SetLink(uint64(1+j), 1000)
		}
		for j := range 10 {
			_ = d.Put(Service{Name: fmt.Sprintf("service-%d.of.%d", j, i), Port: uint32(j)})
		}
		for _, msg := range drain(open(d)) {
			if msg[0] != msgDigest {
				msgs = append(msgs, msg)
			}
		}
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := New(Config{ID: 1, Life: 1}, epoch)
		for i := range nodes {
			_ = d.SetLink(uint64(10+i), 1000)
		}
		f := open(d)
		for _, msg := range msgs {
			if err := f.Receive(msg); err != nil {
				b.Fatal(err)
			}
		}
		f.Close()
		if all, _ := d.All(); len(all) != 10*nodes {
			b.Fatalf("%d services", len(all))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/nodes, "B/node")
		runtime.KeepAlive(d)
	}
}
