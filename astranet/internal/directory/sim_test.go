package directory

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A sim is a mesh in virtual time: Directories, links between them that carry messages in order and take their time, and a plan of
// what happens when. Everything comes from one seed.
type sim struct {
	t      testing.TB
	rnd    *rand.Rand
	now    time.Duration
	events agenda
	count  int // of events, to keep those of one instant in order
	nodes  []*simNode
	links  map[[2]*simNode]*simLink
	delay  func() time.Duration
	bytes  int            // that have been sent
	told   map[string]int // what was reported
	report func(error)
}

type simNode struct {
	*Directory
	cfg    Config
	links  map[*simNode]*simLink
	tamper func(msg []byte) []byte // with what it sends, if it is not nil; nothing is not sent
}

// simLink is a link in one direction, with the Feed of the sender.
type simLink struct {
	from, to *simNode
	feed     *Feed
	back     *simLink
	last     time.Duration // when the last message arrives
	busy     bool          // it is about to look for messages
	down     bool
}

// event is something that happens.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(a[i].at, a[j].at), cmp.Compare(a[i].seq, a[j].seq)) < 0
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

func newSim(t testing.TB, seed uint64) *sim {
	s := &sim{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)),
		links: make(map[[2]*simNode]*simLink),
		told:  make(map[string]int),
	}
	s.delay = func() time.Duration { return 50 * time.Millisecond }
	s.report = func(err error) { t.Errorf("at %v: reported: %v", s.now, err) }
	return s
}

// epoch is when the time of a sim begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *sim) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.events, event{s.now + d, s.count, do})
}

// run lets the time pass.
func (s *sim) run(d time.Duration) {
	end := s.now + d
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	s.now = end
}

// node adds a node, which ticks.
func (s *sim) node(c Config) *simNode {
	c.ID = cmp.Or(c.ID, s.rnd.Uint64()|1)
	c.Life = s.rnd.Uint64() | 1
	c.Report = func(err error) { s.report(err) }
	n := &simNode{Directory: New(c, epoch.Add(s.now)), cfg: c, links: make(map[*simNode]*simLink)}
	n.SetFlags(Relay)
	s.nodes = append(s.nodes, n)
	s.tick(n)
	return n
}

func (s *sim) tick(n *simNode) {
	s.after(time.Second, func() {
		if slices.Contains(s.nodes, n) {
			n.Tick(epoch.Add(s.now))
			s.tick(n)
		}
	})
}

// stop ends a node without a word.
func (s *sim) stop(n *simNode) {
	for _, to := range s.neighbours(n) {
		s.unlink(n, to)
	}
	s.nodes = slices.DeleteFunc(s.nodes, func(o *simNode) bool { return o == n })
}

// neighbours returns the nodes with a link from n in an order that is always the same.
func (s *sim) neighbours(n *simNode) (all []*simNode) {
	for _, o := range s.nodes {
		if n.links[o] != nil {
			all = append(all, o)
		}
	}
	return all
}

func (s *sim) link(a, b *simNode) {
	if a == b || a.links[b] != nil {
		return
	}
	ab, ba := &simLink{from: a, to: b}, &simLink{from: b, to: a}
	ab.back, ba.back = ba, ab
	for _, l := range []*simLink{ab, ba} {
		l.from.links[l.to] = l
		if err := l.from.SetLink(l.to.id, uint32(1000+s.rnd.IntN(1000))); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, l := range []*simLink{ab, ba} {
		l.feed = l.from.Open(func() { s.send(l) })
	}
}

// unlink cuts a link: what is on the way is lost.
func (s *sim) unlink(a, b *simNode) {
	for _, l := range []*simLink{a.links[b], b.links[a]} {
		l.down = true
		l.feed.Close()
		delete(l.from.links, l.to)
		l.from.DropLink(l.to.id)
	}
}

// send sends all that a Feed has, when whoever woke it has done.
func (s *sim) send(l *simLink) {
	if l.busy {
		return
	}
	l.busy = true
	s.after(0, func() {
		l.busy = false
		for !l.down {
			msg := l.feed.Next(nil)
			if len(msg) == 0 {
				return
			}
			if l.from.tamper != nil {
				if msg = l.from.tamper(msg); msg == nil {
					continue
				}
			}
			s.bytes += len(msg)
			l.last = max(l.last, s.now+s.delay())
			s.after(l.last-s.now, func() {
				if l.down {
					return
				}
				if err := l.back.feed.Receive(msg); err != nil {
					s.t.Errorf("at %v: %v", s.now, err)
				}
			})
		}
	})
}

// mesh links nodes at random, so that each can be reached, with so many links each on average.
func (s *sim) mesh(degree int) {
	for i := 1; i < len(s.nodes); i++ {
		s.link(s.nodes[i], s.nodes[s.rnd.IntN(i)])
	}
	for range len(s.nodes) * (degree - 2) / 2 {
		s.link(s.pick(), s.pick())
	}
}

func (s *sim) pick() *simNode { return s.nodes[s.rnd.IntN(len(s.nodes))] }

// component returns the nodes that a node can reach, over relays as all here are.
func (s *sim) component(n *simNode) map[*simNode]bool {
	seen := map[*simNode]bool{n: true}
	for todo := []*simNode{n}; len(todo) > 0; todo = todo[1:] {
		for o := range todo[0].links {
			if !seen[o] {
				seen[o] = true
				todo = append(todo, o)
			}
		}
	}
	return seen
}

// check compares what every node knows with what is.
func (s *sim) check() {
	s.t.Helper()
	done := make(map[*simNode]bool)
	for _, n := range s.nodes {
		if done[n] {
			continue
		}
		all := s.component(n)
		var want []Service
		stamps := make(map[uint64]stamp)
		for o := range all {
			done[o] = true
			own, _ := o.ownServices()
			want = append(want, own...)
			stamps[o.id] = o.nodes[o.id].stamp
		}
		slices.SortFunc(want, compareAll)
		for _, o := range s.nodes {
			if all[o] {
				s.compare(o, want, stamps)
			}
		}
	}
}

func compareAll(a, b Service) int { return cmp.Or(cmp.Compare(a.Name, b.Name), compareInstance(a, b)) }

func (s *sim) compare(n *simNode, want []Service, stamps map[uint64]stamp) {
	s.t.Helper()
	got, _ := n.All()
	if !slices.Equal(got, want) {
		s.t.Errorf("at %v: node %x knows %d services, want %d", s.now, n.id, len(got), len(want))
	}
	reached := 0
	for _, r := range n.nodes {
		if r.reachable {
			reached++
			if r.stamp != stamps[r.id] {
				s.t.Errorf("at %v: node %x has %x in version %v, want %v", s.now, n.id, r.id, r.stamp, stamps[r.id])
			}
		}
	}
	if reached != len(stamps) {
		s.t.Errorf("at %v: node %x reaches %d nodes, want %d", s.now, n.id, reached, len(stamps))
	}
	n.consistent(s.t)
}

// ownServices returns what a node says that it serves.
func (d *Directory) ownServices() (all []Service, byKey map[string]bool) {
	d.settle()
	for _, p := range d.own.services.sheets {
		all = append(all, p.items...)
	}
	return all, nil
}

// consistent checks what must always be so.
func (d *Directory) consistent(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	bytes, shown, ids := 0, 0, make(map[string]int)
	for id, r := range d.nodes {
		bytes += r.size
		ids[r.name]++
		if _, found := slices.BinarySearch(d.order, id); !found || r.id != id {
			t.Errorf("node %x is not in its place", id)
		}
		if r.reachable {
			shown += len(r.services(nil))
		}
	}
	if bytes != d.bytes || len(d.order) != len(d.nodes) || len(ids) != len(d.ids) || shown != d.index.size {
		t.Errorf("%d bytes, %d in order, %d names, %d services; counted %d, %d, %d, %d",
			d.bytes, len(d.order), len(d.ids), d.index.size, bytes, len(d.nodes), len(ids), shown)
	}
	total := 0
	for name, of := range d.index.byName {
		total += len(of.all)
		if !slices.IsSortedFunc(of.all, compareInstance) || len(of.all) == 0 {
			t.Errorf("instances of %q are out of order, or none", name)
		}
	}
	if total != d.index.size {
		t.Errorf("%d services, counted %d", d.index.size, total)
	}
	for _, f := range d.feeds {
		if len(f.queue) != len(f.owed) {
			t.Errorf("a feed owes %d, and has %d in its queue", len(f.owed), len(f.queue))
		}
	}
}

func serviceNo(i int) Service {
	return Service{Name: fmt.Sprint("service-", i), Port: uint32(1<<24 + i)}
}
