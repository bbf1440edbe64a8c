package astranet

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/virtnet/virtnet/mux"
)

// settings are what a fresh node shares with the one it was made from.
type settings struct {
	Config
	env       string // appended to names
	loopback  bool
	announces bool // its services are told to others
	follows   bool // it links with nodes that it hears of
}

// node is an AstraNet.
type node struct {
	set settings
	log *slog.Logger

	starting, closing sync.Once
	// Constant once started.
	invalid  error // what is wrong with the settings
	id       uint64
	name     string // as the certificate has it
	life     uint64 // another one in every process that has the id
	acceptor *mux.Acceptor

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // all goroutines of the node that Close waits for

	services RegistryStorage // that may be dialled from here, and the node's own
	routes   RegistryStorage // nodes with links
	hidden   RegistryStorage // that others have, and this node's rules forbid to dial
	lastPort atomic.Uint32   // drawn for a Bind or a Dial
	waiting  *halfOpen
	refusals logLimit

	mu        sync.Mutex // the innermost but for those of RegistryStorage and of package mux; never held while waiting
	closed    bool
	listeners map[uint32]*listener
	named     int              // how many of them have a service
	peers     map[uint64]*peer // those with links or sessions
	carriers  []source         // where links come in
	linked    chan struct{}    // closed and made anew when a link or a session comes or goes
}

var _ AstraNet = (*node)(nil)

// firstPort is the one before the first that is drawn.
const firstPort = 1 << 24

func newNode(s settings) *node {
	n := &node{
		set:       s,
		log:       s.logger(),
		listeners: make(map[uint32]*listener),
		peers:     make(map[uint64]*peer),
		linked:    make(chan struct{}),
		waiting:   newHalfOpen(s.halfOpen()),
	}
	n.lastPort.Store(firstPort)
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// start makes the node run, once. The error says what is wrong with its settings: then it does not.
func (n *node) start() error {
	n.starting.Do(func() {
		for n.id = n.set.ID; n.id == 0; n.id = random() {
		}
		n.life = random()
		if c := n.set.Credentials; c != nil {
			n.name = c.Self().Name
		}
		n.log = n.log.With("node", nodeText(n.id, n.name))
		if n.invalid = n.set.check(); n.invalid != nil {
			n.log.Error("the node does not work", "why", n.invalid)
			return
		}
		n.acceptor = mux.NewAcceptor(n.sessionConfig(nil))
		if n.set.secured() {
			n.spawn(n.watchCredentials)
		}
		if n.set.FromEnv {
			n.fromEnv()
		}
	})
	return n.invalid
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.NativeEndian.Uint64(b[:])
}

// spawn runs f on a goroutine that Close waits for, unless the node is closed. f must end when the node's context does.
func (n *node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.spawnLocked(f)
}

// spawnLocked is spawn with mu held.
func (n *node) spawnLocked(f func()) bool {
	if n.closed {
		return false
	}
	n.work.Go(f)
	return true
}

// changedLocked wakes who waits for links and sessions. It is called with mu held.
func (n *node) changedLocked() {
	close(n.linked)
	n.linked = make(chan struct{})
}

// ID returns the node's number.
func (n *node) ID() uint64 {
	_ = n.start()
	return n.id
}

func (n *node) fresh(change func(*settings)) Multiplexer {
	s := n.set
	if change != nil {
		change(&s)
	}
	return newNode(s)
}

func (n *node) New() Multiplexer {
	return n.fresh(func(s *settings) { s.announces, s.follows = true, true })
}
func (n *node) Router() Multiplexer { return n.New() }
func (n *node) Client() Multiplexer {
	return n.fresh(func(s *settings) { s.announces, s.follows = false, true })
}
func (n *node) Server() Multiplexer {
	return n.fresh(func(s *settings) { s.announces, s.follows = true, false })
}

func (n *node) WithLoopBack() Multiplexer { return n.fresh(func(s *settings) { s.loopback = true }) }

func (n *node) WithEnv(env ...string) Multiplexer {
	return n.fresh(func(s *settings) {
		if len(env) > 0 {
			s.env = "." + strings.Join(env, ".")
		}
	})
}

func (n *node) Services() []ServiceId        { _ = n.start(); return n.services.All() }
func (n *node) Routes() []ServiceId          { _ = n.start(); return n.routes.All() }
func (n *node) ServiceMap() *RegistryStorage { _ = n.start(); return &n.services }
func (n *node) RoutesMap() *RegistryStorage  { _ = n.start(); return &n.routes }

// Close ends the node.
func (n *node) Close() error {
	n.starting.Do(func() {}) // a node that has not started never does
	n.closing.Do(n.shut)
	return nil
}

// shut is Close.
func (n *node) shut() {
	n.mu.Lock()
	n.closed = true
	var sessions []*session
	var links []*link
	for _, p := range n.peers {
		sessions = append(sessions, p.sessions...)
		links = append(links, p.links...)
	}
	listeners := slices.Collect(maps.Values(n.listeners))
	carriers := n.carriers
	n.mu.Unlock()
	n.stop()
	closeAll(listeners, func(l *listener) { l.end(ErrNodeClosed) })
	for _, l := range carriers {
		_ = l.Close()
	}
	if n.acceptor != nil {
		_ = n.acceptor.Close()
	}
	// The other ends of connections hear that they are closed: first the sessions, then what carries them.
	closeAll(sessions, func(s *session) { _ = s.mux.CloseWithError(sessionClosed, "the node is closed") })
	closeAll(links, func(l *link) { l.end(linkClosed, "the node is closed") })
	n.services.Close()
	n.hidden.Close()
	n.routes.Close()
	n.work.Wait()
}

// isClosed tells whether Close was called.
func (n *node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// closeAll closes several things at once: each may take a while.
func closeAll[T any](all []T, end func(T)) {
	var wg sync.WaitGroup
	for _, x := range all {
		wg.Go(func() { end(x) })
	}
	wg.Wait()
}

// Addrs returns the addresses at which links are taken.
func (n *node) Addrs() []net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []net.Addr
	for _, l := range n.carriers {
		all = append(all, l.Addr())
	}
	return slices.Clip(all)
}
