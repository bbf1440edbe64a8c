package virtnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/virtnet/virtnet/internal/hostname"
)

// defaultBacklog is how many dials wait at a listener for an Accept where Config says nothing.
const defaultBacklog = 4096

// Config has the settings of a sub-network that [NewSubNetwork] has no room for. The zero value is what
// NewSubNetwork uses.
type Config struct {
	// Backlog is how many dials may wait at one listener for an Accept; the next is refused. 0 means 4096.
	// Negative means none: a dial succeeds only while an Accept waits.
	Backlog int

	// Emulator shapes what passes between the hosts, if it is not nil: delays and faults, as package netem has
	// them.
	Emulator Emulator
}

func (c Config) backlog() int {
	switch {
	case c.Backlog == 0:
		return defaultBacklog
	case c.Backlog < 0:
		return 0
	}
	return c.Backlog
}

// A SubNetwork is the part of a network that is in one process, or on one machine: home to hosts.
//
// Its methods are safe for concurrent use.
type SubNetwork struct {
	network  string
	engine   Engine
	leader   Leader // the engine, if it is one
	registry Registry
	backlog  int
	shaper   Shaper // nil without an Emulator

	longNames longNames // for addresses that have a name's hash

	life context.Context // ends when the sub-network goes down
	kill context.CancelFunc
	// down is set before life ends and before any socket is shut down, so that whoever is interrupted finds it.
	// It is atomic because every failed Read looks at it.
	down     atomic.Bool
	released chan struct{} // closed when whoever has set down has released all sockets
	closed   chan struct{} // closed when Close has done its work

	mu        sync.Mutex
	hosts     map[string]*Host         // those being made included
	withdraws map[string]chan struct{} // names being withdrawn; closed when that is over
	used      bool                     // there was a host
	autoClose bool
	closing   bool
	downErr   error // why VNetDown
}

// NewSubNetwork makes a sub-network of the network with that full name, e.g. "pipeα". It is for those who
// make networks; users call, for example, pipenet.New or lonet.Join. The engine makes its connections known
// through the Notifier. The sub-network owns engine and registry, and closes them.
func NewSubNetwork(network string, engine Engine, registry Registry) (*SubNetwork, Notifier) {
	return Config{}.NewSubNetwork(network, engine, registry)
}

// NewSubNetwork is the package's function NewSubNetwork with these settings.
func (c Config) NewSubNetwork(network string, engine Engine, registry Registry) (*SubNetwork, Notifier) {
	n := &SubNetwork{
		network:   network,
		engine:    engine,
		registry:  registry,
		backlog:   c.backlog(),
		released:  make(chan struct{}),
		closed:    make(chan struct{}),
		hosts:     make(map[string]*Host),
		withdraws: make(map[string]chan struct{}),
	}
	n.leader, _ = engine.(Leader)
	if c.Emulator != nil {
		n.shaper = c.Emulator.Attach(n, n.shapeBetween)
	}
	n.life, n.kill = context.WithCancel(context.Background())
	return n, (*notifier)(n)
}

// Network returns the full name of the network.
func (n *SubNetwork) Network() string { return n.network }

// Host returns the host with that name, or nil if it isn't on this sub-network, is still being made, or was
// closed.
func (n *SubNetwork) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.made {
		return h
	}
	return nil
}

// NewHost makes a host. The name is valid UTF-8, at most 255 bytes long as Go's %q quotes it, without control
// characters, without any of / \ : [ ] %, not empty, "." or "..", and unique in the whole network.
//
// It waits for the engine and the registry, until ctx ends or the sub-network goes down. errors.Is tells the
// cause: ErrHostDup if the network has a host of that name, ErrNetDown, ErrRegistryDown, the context's error. It
// may also be an error of the engine or the registry, or say which rule the name breaks.
func (n *SubNetwork) NewHost(ctx context.Context, name string) (*Host, error) {
	h, err := n.newHost(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("virtnet %q: new host %q: %w", n.network, name, err)
	}
	return h, nil
}

func (n *SubNetwork) newHost(ctx context.Context, name string) (*Host, error) {
	if err := hostname.Check(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	if n.down.Load() {
		n.mu.Unlock()
		return nil, ErrNetDown
	}
	if n.hosts[name] != nil {
		n.mu.Unlock()
		return nil, ErrHostDup
	}
	h := &Host{subnet: n, name: name}
	h.life, h.kill = context.WithCancel(n.life)
	// From here on VNetAccept finds the host, so a dial that comes as soon as it is announced is refused for
	// want of a listener, not of a host.
	n.hosts[name] = h
	withdraw := n.withdraws[name]
	n.mu.Unlock()

	call := &callCtx{Context: ctx, life: n.life}
	defer call.end()
	announced := &announcement{Registry: n.registry}
	err := waitFor(call, withdraw)
	if err == nil {
		err = n.engine.VNetNewHost(call, name, announced)
	}

	n.mu.Lock()
	if n.down.Load() {
		err = ErrNetDown
	}
	if err == nil {
		h.made, n.used = true, true
		h.hostdata = announced.hostdata
		n.mu.Unlock()
		return h, nil
	}
	delete(n.hosts, name)
	h.kill()
	if announced.made.Load() {
		n.withdrawLocked(name, announced.hostdata)
	}
	last := n.hostlessLocked()
	n.mu.Unlock()
	err = callError(ctx, err)
	if last { // the last host was closed meanwhile
		err = errors.Join(err, n.Close())
	}
	return nil, err
}

// hostlessLocked tells whether it is time to close because of AutoClose. It is called with mu
// held.
func (n *SubNetwork) hostlessLocked() bool {
	return n.autoClose && n.used && len(n.hosts) == 0 && !n.down.Load()
}

// waitFor waits until done is closed; a nil one is done.
func waitFor(ctx context.Context, done <-chan struct{}) error {
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// callError is the error of a call into the engine whose caller's context is ctx: the context's error, if the
// call was given up for that, and not the various errors with which engines and carriers express it.
func callError(ctx context.Context, err error) error {
	cerr := ctx.Err()
	if cerr == nil || errors.Is(err, ErrConnRefused) || errors.Is(err, ErrNoHost) || errors.Is(err, ErrHostDup) || errors.Is(err, ErrNetDown) {
		return err
	}
	var reg *RegistryError // it tells what was waited for, and is a timeout if its cause is one
	if errors.As(err, &reg) && reg.Err == cerr {
		return err
	}
	return cerr
}

// announcement is a registry that remembers what the engine announces through it.
type announcement struct {
	Registry
	hostdata string // may be read once made is true, or the engine's call has returned
	made     atomic.Bool
}

func (a *announcement) Announce(ctx context.Context, hostname, hostdata string) error {
	err := a.Registry.Announce(ctx, hostname, hostdata)
	if err == nil {
		a.hostdata = hostdata
		a.made.Store(true)
	}
	return err
}

// withdrawLocked starts to take the name back, if the registry can. Nobody waits for it but the next NewHost
// of that name: not even Close, which ends its context, and which a registry that doesn't obey that must not keep
// from closing it. It is called with mu held.
func (n *SubNetwork) withdrawLocked(name, hostdata string) {
	w, ok := n.registry.(Withdrawer)
	if !ok || n.down.Load() {
		return
	}
	done := make(chan struct{})
	n.withdraws[name] = done // the one before it is over: NewHost has waited for it
	go func() {
		defer close(done)
		// An error has nobody to go to. What is left in the registry names a host that this sub-network says is
		// not here.
		_ = w.Withdraw(n.life, name, hostdata)
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.withdraws, name)
	}()
}

// AutoClose makes the sub-network close when its last host is closed. Close of that host then returns what
// Close of the sub-network does. A host that is being made counts: if that fails and no other is left, it is NewHost
// that closes the sub-network, unless there never was a host.
func (n *SubNetwork) AutoClose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.autoClose = true
}

// Close closes the sub-network with all its hosts and their sockets: what is blocked on them ends with
// ErrNetDown, and their names are free again. If the network was already down its error says why. A second
// Close returns nil, once the first is done.
func (n *SubNetwork) Close() error {
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		<-n.closed
		return nil
	}
	n.closing = true
	n.mu.Unlock()
	defer close(n.closed)

	n.shutdown(nil)
	<-n.released                                                        // by a VNetDown, if one came first
	err := errors.Join(n.downErr, n.engine.Close(), n.registry.Close()) // nobody writes downErr any more
	if err != nil {
		return fmt.Errorf("virtnet %q: close: %w", n.network, err)
	}
	return nil
}

// shutdown interrupts everything on the sub-network. A second one returns at once: a carrier that is being closed
// may call VNetDown.
func (n *SubNetwork) shutdown(err error) {
	n.mu.Lock()
	if n.down.Swap(true) {
		n.mu.Unlock()
		return
	}
	n.downErr = err
	hosts := n.hosts
	n.hosts = nil
	n.mu.Unlock()

	defer close(n.released)
	n.kill()
	for _, h := range hosts {
		h.shutdown()
	}
	if n.shaper != nil {
		n.shaper.Down()
	}
}

// hostClosed forgets a host that went down.
func (n *SubNetwork) hostClosed(h *Host) error {
	if c, ok := n.engine.(HostCloser); ok && !n.down.Load() {
		c.VNetCloseHost(h.name)
	}
	n.mu.Lock()
	if n.hosts[h.name] != h { // the sub-network is down
		n.mu.Unlock()
		return nil
	}
	delete(n.hosts, h.name)
	n.withdrawLocked(h.name, h.hostdata)
	last := n.hostlessLocked()
	n.mu.Unlock()
	if last {
		return n.Close()
	}
	return nil
}
