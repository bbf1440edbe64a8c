package pipenet

import (
	"context"
	"sync"

	"github.com/virtnet/virtnet"
)

// registry is a virtnet.Registry in memory. No call waits, so contexts end nothing.
type registry struct {
	name string

	mu    sync.RWMutex
	hosts map[string]string // hostdata by host name; nil when closed
}

var _ virtnet.Registry = (*registry)(nil)

func newRegistry(name string) *registry {
	return &registry{name: name, hosts: make(map[string]string)}
}

func (r *registry) Announce(_ context.Context, hostname, hostdata string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts == nil {
		return r.fail("announce", virtnet.ErrRegistryDown, hostname, hostdata)
	}
	if _, dup := r.hosts[hostname]; dup {
		return r.fail("announce", virtnet.ErrHostDup, hostname, hostdata)
	}
	r.hosts[hostname] = hostdata
	return nil
}

func (r *registry) Query(_ context.Context, hostname string) (string, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.hosts == nil {
		return "", r.fail("query", virtnet.ErrRegistryDown, hostname)
	}
	hostdata, ok := r.hosts[hostname]
	if !ok {
		return "", r.fail("query", virtnet.ErrNoHost, hostname)
	}
	return hostdata, nil
}

func (r *registry) remove(hostname string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hosts, hostname)
}

func (r *registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts = nil
	return nil
}

func (r *registry) fail(op string, err error, args ...string) error {
	return &virtnet.RegistryError{Registry: r.name, Op: op, Args: args, Err: err}
}
