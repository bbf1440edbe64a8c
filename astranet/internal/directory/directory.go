package directory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/virtnet/virtnet/astranet/internal/route"
)

// Config says whose Directory it is.
type Config struct {
	ID   uint64 // not 0
	Life uint64 // not 0, another in every process that has the id
	Name string // as the certificate has it; "" if the mesh has none

	Signer   Signer   // nil is Unsigned
	Verifier Verifier // nil is Unsigned
	Limits   Limits

	// Report gets what an operator should know: claims that contradict each other, entries that are not believed, or for which
	// there is no room. It is called without locks, on the goroutine of whoever called the Directory. It may be nil.
	Report func(error)
}

// Limits bound what a Directory keeps. Zero values stand for what the comments say.
type Limits struct {
	Nodes  int           // nodes, this one included: 10,000
	Gone   int           // nodes that cannot be reached: 1,000. The one that has been gone the longest is forgotten first
	IDs    int           // nodes with one name: 16
	Bytes  int           // of all entries: 256 MiB
	Forget time.Duration // how long a node must be gone to be forgotten: an hour
}

func (l Limits) effective() Limits {
	return Limits{
		Nodes:  cmp.Or(l.Nodes, 10_000),
		Gone:   cmp.Or(l.Gone, 1000),
		IDs:    cmp.Or(l.IDs, 16),
		Bytes:  cmp.Or(l.Bytes, 256<<20),
		Forget: cmp.Or(l.Forget, time.Hour),
	}
}

// Errors that Config.Report gets, among others.
var (
	ErrConflict = errors.New("two nodes have one id")
	ErrNoRoom   = errors.New("the directory is full")
)

// A Directory is what a node knows of the nodes of its mesh.
type Directory struct {
	cfg Config // constant, as id
	id  uint64

	mu      sync.Mutex // guards what follows
	own     own
	nodes   map[uint64]*record // this one too, once it has been published
	order   []uint64           // their ids, sorted
	ids     map[string]int     // how many there are of a name
	bytes   int                // of all entries
	feeds   []*Feed
	index   index
	graph   *route.Graph
	stale   bool // graph, and what depends on it, are to be made anew
	now     time.Time
	reports []error // to be told when mu is free
}

// record is a node, with what is known of it.
type record struct {
	*entry
	reachable bool
	gone      time.Time // since when it is not
}

// New returns the Directory of a node, which knows only itself.
func New(c Config, now time.Time) *Directory {
	if c.Signer == nil {
		c.Signer = Unsigned{}
	}
	if c.Verifier == nil {
		c.Verifier = Unsigned{}
	}
	c.Limits = c.Limits.effective()
	return &Directory{
		cfg: c, id: c.ID,
		own:   newOwn(),
		nodes: make(map[uint64]*record),
		ids:   make(map[string]int),
		index: index{byName: make(map[string]*instances)},
		graph: route.NewGraph(nil),
		now:   now,
	}
}

// unlock ends what was done with mu held: who waits for changes of services hears of them, and Config.Report gets its reports.
func (d *Directory) unlock() {
	if d.index.recent.wait != nil {
		d.settle()
	}
	reports := d.reports
	d.reports = nil
	d.mu.Unlock()
	if d.cfg.Report != nil {
		for _, err := range reports {
			d.cfg.Report(err)
		}
	}
}

func (d *Directory) report(err error) { d.reports = append(d.reports, err) }

// Tick tells the time, which is what forgets; every second, say.
func (d *Directory) Tick(now time.Time) {
	d.mu.Lock()
	defer d.unlock()
	d.now = now
	d.tickOwn()
	d.settle()
	d.forget(func(r *record) bool { return now.Sub(r.gone) >= d.cfg.Limits.Forget })
	for range d.gone() - d.cfg.Limits.Gone {
		d.evict(func(*record) bool { return true })
	}
}

// tickOwn publishes what had to wait. If that goes on, there is another node with this one's key and id.
func (d *Directory) tickOwn() {
	o := &d.own
	o.renewed = o.later
	if !o.later {
		o.disputes = 0
		return
	}
	o.later = false
	if o.disputes++; o.disputes == 3 {
		d.report(fmt.Errorf("node %x is this one, and another with its key: %w", d.id, ErrConflict))
	}
	d.touch()
}

// Recheck verifies all entries again: those that are not good any more are forgotten, and this node's own is published anew if it has
// another certificate. It is to be called when credentials have changed, and now and then, since certificates expire.
func (d *Directory) Recheck() {
	d.mu.Lock()
	all := make([]*entry, 0, len(d.nodes))
	for _, id := range d.order {
		all = append(all, d.nodes[id].entry)
	}
	chain, _ := d.cfg.Signer.Key()
	if r := d.nodes[d.id]; r == nil || r.chain() != chain {
		d.touch()
	}
	d.unlock()
	for _, e := range all {
		if e.id == d.id {
			continue
		}
		if err := d.verify(e); err != nil {
			d.disown(e, err)
		}
	}
}

// verify tells whether an entry is by the node that it names.
func (d *Directory) verify(e *entry) error {
	return d.cfg.Verifier.Verify(e.name, e.chain(), append([]byte(headContext), e.signed...), []byte(e.sig))
}

// disown forgets a node whose entry is not to be believed.
func (d *Directory) disown(e *entry, err error) {
	d.mu.Lock()
	defer d.unlock()
	if r := d.nodes[e.id]; r != nil && r.entry == e {
		d.report(fmt.Errorf("node %x, %q: %w", e.id, e.name, err))
		d.remove(r)
	}
}

// A Node is what is known of a node.
type Node struct {
	ID, Life  uint64
	Name      string
	Flags     Flags
	Addrs     []string // must not be changed
	Version   uint64
	Links     []route.Link // what it claims; must not be changed
	Reachable bool
}

func (r *record) node() Node {
	return Node{r.id, r.life, r.name, r.flags, r.addrs, r.version, r.links, r.reachable}
}

// Node returns what is known of a node. It allocates nothing.
func (d *Directory) Node(id uint64) (n Node, known bool) {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	r := d.nodes[id]
	if r == nil {
		return Node{}, false
	}
	return r.node(), true
}

// Nodes returns all nodes, this one included, by id.
func (d *Directory) Nodes() []Node {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	all := make([]Node, len(d.order))
	for i, id := range d.order {
		all[i] = d.nodes[id].node()
	}
	return all
}

// Graph returns the nodes with the links that count.
func (d *Directory) Graph() *route.Graph {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	return d.graph
}

// Services returns the instances of a service on nodes that can be reached, this one included, by host and port. They must
// not be changed, and do not change. It allocates nothing.
func (d *Directory) Services(name string) []Service {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	return d.index.lookup(name)
}

// All returns all services on nodes that can be reached, by name, host and port, and how many changes there have been: what Changes
// goes on from.
func (d *Directory) All() (all []Service, seen uint64) {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	all = make([]Service, 0, d.index.size)
	for _, of := range d.index.byName {
		all = append(all, of.all...)
	}
	slices.SortFunc(all, func(a, b Service) int { return cmp.Or(cmp.Compare(a.Name, b.Name), compareInstance(a, b)) })
	return all, d.index.recent.count
}

// Changes appends to buf what has changed among the services that can be reached after the first seen changes. It returns how many
// there have been by now, and what is closed when there is another. If they are too many to be remembered, some thousand, ok is
// false: ask All.
func (d *Directory) Changes(seen uint64, buf []Change) (all []Change, now uint64, next <-chan struct{}, ok bool) {
	d.mu.Lock()
	defer d.unlock()
	d.settle()
	j := &d.index.recent
	if j.wait == nil {
		j.wait = make(chan struct{})
	}
	all, ok = j.after(seen, buf)
	return all, j.count, j.wait, ok
}
