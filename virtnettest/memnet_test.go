package virtnettest_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/virtnettest"
)

// memnet is the smallest network there is: sub-networks of one process whose hosts are connected by net.Pipe.
// The suite is tested on it, and on it with a fault.
type memnet struct {
	fault fault

	mu    sync.Mutex
	hosts map[string]memhost
	subs  []*memsub
}

type memhost struct{ owner, data string }

// fault changes what a memnet does. The functions of a fault may be nil.
type fault struct {
	name   string
	clause string // the one that has to fail
	says   string // and how, if that matters
	dial   func(s *memsub, ctx context.Context, src, dst *virtnet.Addr, to *memsub) (net.Conn, *virtnet.Addr, error)
	query  func(err error) error
	conn   func(net.Conn) net.Conn
	stay   bool // names of closed hosts stay
}

// memsub is the engine of a sub-network.
type memsub struct {
	net      *memnet
	id       string
	notifier virtnet.Notifier
}

func newMemnet(n int, f fault) []*virtnet.SubNetwork {
	m := &memnet{fault: f, hosts: make(map[string]memhost)}
	var subs []*virtnet.SubNetwork
	for i := range n {
		s := &memsub{net: m, id: string(rune('0' + i))}
		var registry virtnet.Registry = &memregistry{net: m, owner: s.id}
		if !f.stay {
			registry = withdrawer{registry.(*memregistry)}
		}
		var sub *virtnet.SubNetwork
		sub, s.notifier = virtnet.Config{Backlog: 64}.NewSubNetwork("mem", s, registry)
		m.subs = append(m.subs, s)
		subs = append(subs, sub)
		notifiers.Store(sub, s.notifier)
	}
	return subs
}

// notifiers has the Notifier of every sub-network.
var notifiers sync.Map

func memNetwork(f fault, bubble bool) virtnettest.Network {
	return virtnettest.Network{
		New:     func(t testing.TB, n int) []*virtnet.SubNetwork { return newMemnet(n, f) },
		Bubble:  bubble,
		Backlog: 64,
		Down: func(sub *virtnet.SubNetwork, err error) {
			n, _ := notifiers.Load(sub)
			n.(virtnet.Notifier).VNetDown(err)
		},
	}
}

func (s *memsub) VNetNewHost(ctx context.Context, hostname string, registry virtnet.Registry) error {
	return registry.Announce(ctx, hostname, s.id)
}

func (s *memsub) VNetDial(ctx context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error) {
	to := s.net.subs[hostdata[0]-'0']
	if s.net.fault.dial != nil {
		return s.net.fault.dial(s, ctx, src, dst, to)
	}
	return s.dial(ctx, src, dst, to)
}

func (s *memsub) dial(ctx context.Context, src, dst *virtnet.Addr, to *memsub) (net.Conn, *virtnet.Addr, error) {
	c, d := net.Pipe()
	a, err := to.notifier.VNetAccept(ctx, src, dst, pipeEnd{d})
	if err != nil {
		_, _ = c.Close(), d.Close()
		if errors.Is(err, virtnet.ErrNetDown) {
			err = virtnet.ErrConnRefused // it is the other's network that is down
		}
		return nil, nil, err
	}
	a.Ack <- nil
	var conn net.Conn = pipeEnd{c}
	if s.net.fault.conn != nil {
		conn = s.net.fault.conn(conn)
	}
	return conn, a.Addr, nil
}

func (s *memsub) Close() error { return nil }

// pipeEnd is an end of a net.Pipe that does not wait for a reader of nothing.
type pipeEnd struct{ net.Conn }

func (p pipeEnd) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return p.Conn.Write(b)
}

// memregistry is an opening of the hosts of a memnet.
type memregistry struct {
	net    *memnet
	owner  string
	closed bool // guarded by net.mu
}

// withdrawer is a memregistry that is a virtnet.Withdrawer.
type withdrawer struct{ *memregistry }

func (r *memregistry) Announce(ctx context.Context, hostname, hostdata string) error {
	return r.do("announce", []string{hostname, hostdata}, func() error {
		if _, there := r.net.hosts[hostname]; there {
			return virtnet.ErrHostDup
		}
		r.net.hosts[hostname] = memhost{r.owner, hostdata}
		return nil
	})
}

func (r *memregistry) Query(ctx context.Context, hostname string) (data string, _ error) {
	err := r.do("query", []string{hostname}, func() error {
		h, there := r.net.hosts[hostname]
		if !there {
			return virtnet.ErrNoHost
		}
		data = h.data
		return nil
	})
	if err != nil && r.net.fault.query != nil {
		err = r.net.fault.query(err)
	}
	return data, err
}

func (r withdrawer) Withdraw(ctx context.Context, hostname, hostdata string) error {
	return r.do("withdraw", []string{hostname, hostdata}, func() error {
		if r.net.hosts[hostname] == (memhost{r.owner, hostdata}) {
			delete(r.net.hosts, hostname)
		}
		return nil
	})
}

func (r *memregistry) Close() error {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.closed = true
	for name, h := range r.net.hosts {
		if h.owner == r.owner {
			delete(r.net.hosts, name)
		}
	}
	return nil
}

func (r *memregistry) do(op string, args []string, f func() error) error {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	err := virtnet.ErrRegistryDown
	if !r.closed {
		err = f()
	}
	if err != nil {
		return &virtnet.RegistryError{Registry: "mem", Op: op, Args: args, Err: err}
	}
	return nil
}
