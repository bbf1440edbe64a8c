package lonet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/virtnettest"
	"github.com/virtnet/virtnet/xnet"
)

// patience bounds every wait for what must happen.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain()
		return
	}
	os.Exit(run(m))
}

// run runs the tests with a temporary directory of their own, so that networks of none of them stay behind.
func run(m *testing.M) int {
	tmp, err := os.MkdirTemp("", "lonet-test-")
	if err == nil {
		defer os.RemoveAll(tmp)
		err = errors.Join(os.Chmod(tmp, 0o711), // other users' processes, too, have to get to what is in it
			os.Setenv("TMPDIR", tmp), os.Setenv("TMP", tmp))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// A place is where the networks of one test are.
type place struct {
	testing.TB
	cfg lonet.Config
	ctx context.Context // for what is to succeed
}

// newPlace returns a place of the test's own. Its sub-networks are closed when the test ends, and then nothing
// may be left of them: no goroutine and no descriptor.
func newPlace(t testing.TB) *place {
	t.Helper()
	virtnettest.NoLeaks(t)
	noDescriptors(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &place{TB: t, cfg: lonet.Config{TempDir: t.TempDir()}, ctx: ctx}
}

// join joins the network "t".
func (p *place) join() *virtnet.SubNetwork {
	p.Helper()
	n, err := p.cfg.Join(p.ctx, "t")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		if err := n.Close(); err != nil {
			p.Error(err)
		}
	})
	return n
}

// host makes a host on a sub-network of its own.
func (p *place) host(name string) *virtnet.Host {
	p.Helper()
	h, err := p.join().NewHost(p.ctx, name)
	if err != nil {
		p.Fatal(err)
	}
	return h
}

func (p *place) listen(h *virtnet.Host, laddr string) xnet.Listener {
	p.Helper()
	l, err := h.Listen(p.ctx, laddr)
	if err != nil {
		p.Fatal(err)
	}
	return l
}

func (p *place) dial(h *virtnet.Host, addr string) net.Conn {
	p.Helper()
	c, err := h.Dial(p.ctx, addr)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { c.Close() })
	return c
}

func (p *place) accept(l xnet.Listener) net.Conn {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	c, err := l.Accept(ctx)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { c.Close() })
	return c
}

// echo makes whoever dials l hear what they say, until l is closed.
func (p *place) echo(l xnet.Listener) {
	go echo(l)
	p.Cleanup(func() { l.Close() })
}

// path returns the path of the network's registry.
func (p *place) path(network string) string {
	return filepath.Join(p.cfg.TempDir, "lonet", network, "registry.db")
}

// sql runs a statement on the registry of a network, as a program of others would, and returns the first column
// of its first row.
func (p *place) sql(network, query string, args ...string) string {
	p.Helper()
	conn := must[*sqlite.Conn](p)(sqlite.OpenConn(p.path(network), sqlite.OpenReadWrite))
	defer conn.Close()
	conn.SetBusyTimeout(patience)
	stmt := must[*sqlite.Stmt](p)(conn.Prepare(query))
	for i, arg := range args {
		stmt.BindText(i+1, arg)
	}
	defer stmt.Reset()
	if !must[bool](p)(stmt.Step()) {
		return ""
	}
	return stmt.ColumnText(0)
}

// osladdr returns where the process of a host of network "t" accepts.
func (p *place) osladdr(host string) string {
	p.Helper()
	return p.osladdrIn("t", host)
}

func (p *place) osladdrIn(network, host string) string {
	p.Helper()
	return p.sql(network, `SELECT osladdr FROM hosts WHERE hostname = ?`, host)
}

// setRow makes the registry say that a host is at osladdr.
func (p *place) setRow(host, osladdr string) {
	p.Helper()
	p.sql("t", `INSERT OR REPLACE INTO hosts (hostname, osladdr) VALUES (?, ?)`, host, osladdr)
}

// raw connects to the address of a sub-network, as anybody can.
func (p *place) raw(osladdr string) *net.TCPConn {
	p.Helper()
	c, err := net.DialTimeout("tcp4", osladdr, patience)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		p.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// rawListen listens as a stranger, at 127.0.0.1:port; 0 is any port.
func (p *place) rawListen(port int) *net.TCPListener {
	p.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { l.Close() })
	return l
}

// noDescriptors makes the test fail if at its end there are more descriptors than now, on systems that tell.
func noDescriptors(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0") // the first socket of a process brings descriptors that stay
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	before := descriptors()
	t.Cleanup(func() {
		left := descriptors()
		for end := time.Now().Add(patience); left > before && time.Now().Before(end); left = descriptors() {
			runtime.GC() // package net's pool of pipes for splice is emptied by the collector
			<-time.After(time.Millisecond)
		}
		if left > before {
			t.Errorf("%d descriptors are left", left-before)
		}
	})
}

// descriptors returns how many descriptors this process has, 0 where the system does not tell.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// quickly calls f, and fails the test if that takes a second, which is ages.
func quickly(t testing.TB, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	took := time.Since(start)
	if took > time.Second {
		t.Errorf("%s took %v", what, took)
	}
	t.Logf("%s: %v", what, took.Round(time.Microsecond))
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
