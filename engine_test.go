package virtnet_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// fake is a sub-network whose engine and registry do what a test says. What a test leaves alone works: hosts are
// in a map, and a dial is accepted by the sub-network itself, over a net.Pipe.
type fake struct {
	*testing.T
	*virtnet.SubNetwork
	virtnet.Notifier

	// What the engine and the registry do, set before they are used.
	newHost  func(ctx context.Context, hostname string, registry virtnet.Registry) error
	dial     func(ctx context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error)
	announce func(ctx context.Context, hostname, hostdata string) error
	query    func(ctx context.Context, hostname string) (string, error)
	withdraw func(ctx context.Context, hostname, hostdata string) error
	close    func() error // the engine's
	closeReg func() error
	// closeHost is the engine's VNetCloseHost.
	closeHost func(hostname string)

	mu     sync.Mutex
	hosts  map[string]string
	events []string
}

// newFake returns a network named "fake" that is closed when the test ends.
func newFake(t *testing.T, cfg virtnet.Config) *fake {
	f := &fake{T: t, hosts: make(map[string]string)}
	f.SubNetwork, f.Notifier = cfg.NewSubNetwork("fake", fakeEngine{f}, fakeRegistry{f})
	t.Cleanup(func() { _ = f.SubNetwork.Close() })
	return f
}

// note remembers what happened.
func (f *fake) note(event string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, event)
}

// wantEvents checks what has happened since it was called last.
func (f *fake) wantEvents(want ...string) {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.events, ", "); got != strings.Join(want, ", ") {
		f.Errorf("calls of engine and registry: %s; want: %s", got, strings.Join(want, ", "))
	}
	f.events = nil
}

// host makes a host.
func (f *fake) host(name string) *virtnet.Host {
	f.Helper()
	h, err := f.NewHost(f.Context(), name)
	if err != nil {
		f.Fatal(err)
	}
	return h
}

// listen makes a host that listens at port 1.
func (f *fake) listen(name string) (*virtnet.Host, xnet.Listener) {
	f.Helper()
	h := f.host(name)
	l, err := h.Listen(f.Context(), ":1")
	if err != nil {
		f.Fatal(err)
	}
	return h, l
}

// connect returns a connection from src to l.
func (f *fake) connect(src *virtnet.Host, l xnet.Listener) (dialled, accepted net.Conn) {
	f.Helper()
	accept := accepting(l)
	dialled, err := src.Dial(f.Context(), l.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	return dialled, accept.succeeds(f.T)
}

// wantFree checks which port of h is the lowest free one: the error of a dial shows it.
func (f *fake) wantFree(h *virtnet.Host, want int) {
	f.Helper()
	_, err := h.Dial(f.Context(), "nobody:bad")
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Source.(*virtnet.Addr).Port != want {
		f.Errorf("lowest free port of %s: %v, want %d", h.Name(), err, want)
	}
}

// incoming is what an engine does for a dial from another sub-network to dst.
func (f *fake) incoming(ctx context.Context, dst string) (*virtnet.Accept, *carrier, error) {
	f.Helper()
	addr, err := virtnet.ParseAddr("fake", dst)
	if err != nil {
		f.Fatal(err)
	}
	c := newCarrier()
	a, err := f.VNetAccept(ctx, &virtnet.Addr{Net: "fake", Host: "far", Port: 7}, addr, c)
	return a, c, err
}

// fakeEngine is the fake as a virtnet.Engine.
type fakeEngine struct{ f *fake }

var (
	_ virtnet.Engine     = fakeEngine{}
	_ virtnet.HostCloser = fakeEngine{}
)

func (e fakeEngine) VNetNewHost(ctx context.Context, hostname string, registry virtnet.Registry) error {
	if e.f.newHost != nil {
		return e.f.newHost(ctx, hostname, registry)
	}
	return registry.Announce(ctx, hostname, "data of "+hostname)
}

func (e fakeEngine) VNetCloseHost(hostname string) {
	e.f.note("close host " + hostname)
	if e.f.closeHost != nil {
		e.f.closeHost(hostname)
	}
}

func (e fakeEngine) VNetDial(ctx context.Context, src, dst *virtnet.Addr, hostdata string) (net.Conn, *virtnet.Addr, error) {
	if e.f.dial != nil {
		return e.f.dial(ctx, src, dst, hostdata)
	}
	c, d := net.Pipe()
	a, err := e.f.VNetAccept(ctx, src, dst, d)
	if err != nil {
		_, _ = c.Close(), d.Close()
		return nil, nil, err
	}
	a.Ack <- nil
	return c, a.Addr, nil
}

func (e fakeEngine) Close() error {
	e.f.note("close engine")
	if e.f.close != nil {
		return e.f.close()
	}
	return nil
}

// fakeRegistry is the fake as a virtnet.Registry.
type fakeRegistry struct{ f *fake }

var (
	_ virtnet.Registry   = fakeRegistry{}
	_ virtnet.Withdrawer = fakeRegistry{}
)

func (r fakeRegistry) Announce(ctx context.Context, hostname, hostdata string) error {
	if r.f.announce != nil {
		return r.f.announce(ctx, hostname, hostdata)
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if _, dup := r.f.hosts[hostname]; dup {
		return r.fail("announce", hostname, virtnet.ErrHostDup)
	}
	r.f.hosts[hostname] = hostdata
	return nil
}

func (r fakeRegistry) Query(ctx context.Context, hostname string) (string, error) {
	if r.f.query != nil {
		return r.f.query(ctx, hostname)
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	hostdata, ok := r.f.hosts[hostname]
	if !ok {
		return "", r.fail("query", hostname, virtnet.ErrNoHost)
	}
	return hostdata, nil
}

func (r fakeRegistry) Withdraw(ctx context.Context, hostname, hostdata string) error {
	r.f.note("withdraw " + hostname + " " + hostdata)
	if r.f.withdraw != nil {
		if err := r.f.withdraw(ctx, hostname, hostdata); err != nil {
			return err
		}
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	delete(r.f.hosts, hostname)
	return nil
}

func (r fakeRegistry) Close() error {
	r.f.note("close registry")
	if r.f.closeReg != nil {
		return r.f.closeReg()
	}
	return nil
}

func (fakeRegistry) fail(op, hostname string, err error) error {
	return &virtnet.RegistryError{Registry: "fake registry", Op: op, Args: hostname, Err: err}
}

// carrier is a net.Conn that tells whether it was closed. It embeds nothing, so it can do nothing else.
type carrier struct {
	net.Conn
	closed chan struct{}
}

func newCarrier() *carrier {
	c, _ := net.Pipe()
	return &carrier{Conn: c, closed: make(chan struct{})}
}

// Close panics when called twice: the core closes a carrier once.
func (c *carrier) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

func (c *carrier) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// patience bounds every wait for what must happen.
const patience = 10 * time.Second

// call is an operation in progress.
type call[T any] struct {
	done chan struct{}
	val  T
	err  error
}

func start[T any](f func() (T, error)) *call[T] {
	c := &call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.val, c.err = f()
	}()
	return c
}

func accepting(l xnet.Listener) *call[net.Conn] {
	return start(func() (net.Conn, error) { return l.Accept(context.Background()) })
}

func (c *call[T]) wait(t *testing.T) (T, error) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("a call has not returned after %v", patience)
	}
	return c.val, c.err
}

func (c *call[T]) succeeds(t *testing.T) T {
	t.Helper()
	v, err := c.wait(t)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fails waits for the call to fail with that text.
func (c *call[T]) fails(t *testing.T, want string) {
	t.Helper()
	_, err := c.wait(t)
	wantText(t, err, want)
}

// ended tells whether the call has returned. It is for bubbles, where nothing else goes on.
func (c *call[T]) ended() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// wantText checks the text of an error; "" means no error.
func wantText(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}
