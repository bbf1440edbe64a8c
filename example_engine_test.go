package virtnet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"sync"

	"github.com/virtnet/virtnet"
)

// wire is a network of one's own: an engine that connects the hosts of one sub-network by net.Pipe. A real one
// would reach other sub-networks, at what their engines have announced as hostdata.
type wire struct {
	notifier virtnet.Notifier
}

// VNetNewHost has nothing to prepare.
func (w *wire) VNetNewHost(ctx context.Context, hostname string, registry virtnet.Registry) error {
	return registry.Announce(ctx, hostname, "here")
}

// VNetDial asks the core of the host that is dialled to accept.
func (w *wire) VNetDial(ctx context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error) {
	dialled, accepted := net.Pipe()
	accept, err := w.notifier.VNetAccept(ctx, src, dst, accepted)
	if err != nil {
		dialled.Close()
		accepted.Close()
		return nil, nil, err
	}
	accept.Ack <- nil // the dialler knows
	return dialled, accept.Addr, nil
}

// Close has nothing to release.
func (w *wire) Close() error { return nil }

// book is its registry.
type book struct {
	mu    sync.Mutex
	hosts map[string]string // nil when closed
}

func (b *book) Announce(ctx context.Context, hostname, hostdata string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, dup := b.hosts[hostname]
	switch {
	case b.hosts == nil:
		return &virtnet.RegistryError{Registry: "book", Op: "announce", Args: hostname, Err: virtnet.ErrRegistryDown}
	case dup:
		return &virtnet.RegistryError{Registry: "book", Op: "announce", Args: hostname, Err: virtnet.ErrHostDup}
	}
	b.hosts[hostname] = hostdata
	return nil
}

func (b *book) Query(ctx context.Context, hostname string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hostdata, ok := b.hosts[hostname]
	switch {
	case b.hosts == nil:
		return "", &virtnet.RegistryError{Registry: "book", Op: "query", Args: hostname, Err: virtnet.ErrRegistryDown}
	case !ok:
		return "", &virtnet.RegistryError{Registry: "book", Op: "query", Args: hostname, Err: virtnet.ErrNoHost}
	}
	return hostdata, nil
}

// Withdraw makes the name of a closed host free again.
func (b *book) Withdraw(ctx context.Context, hostname, hostdata string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hosts[hostname] == hostdata {
		delete(b.hosts, hostname)
	}
	return nil
}

func (b *book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hosts = nil
	return nil
}

// A network of one's own is an engine and a registry. Package virtnettest checks that they are one.
func Example_engine() {
	engine := new(wire)
	network, notifier := virtnet.NewSubNetwork("wireα", engine, &book{hosts: make(map[string]string)})
	engine.notifier = notifier
	defer network.Close()

	ctx := context.Background()
	α, err := network.NewHost(ctx, "α")
	if err != nil {
		log.Fatal(err)
	}
	β, err := network.NewHost(ctx, "β")
	if err != nil {
		log.Fatal(err)
	}
	l, err := β.Listen(ctx, ":80")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(ctx); err == nil {
			fmt.Fprintf(conn, "this is %v, hello %v", conn.LocalAddr(), conn.RemoteAddr())
			conn.Close()
		}
	}()

	conn, err := α.Dial(ctx, "β:80")
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	fmt.Println(string(text), err)
	_, err = α.Dial(ctx, "γ:80")
	fmt.Println(err)
	// Output:
	// this is β:1, hello α:1 <nil>
	// dial wireα α:2->γ:80: book: query "γ": no such host
}
