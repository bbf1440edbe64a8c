package astranet_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/internal/pipe"
)

// Connections do what net.Conn says, whatever carries them.
func TestNettest(t *testing.T) {
	mesh := authority(t)
	secure := func(name string) astranet.Config {
		return astranet.Config{Credentials: credentials(t, mesh, name, ca.IssueOptions{})}
	}
	for _, k := range []struct {
		name  string
		nodes func(t *testing.T) (s, c astranet.AstraNet)
	}{
		{"tcp", func(t *testing.T) (s, c astranet.AstraNet) { return linked(t, astranet.Config{}, astranet.Config{}) }},
		{"tls", func(t *testing.T) (s, c astranet.AstraNet) { return linked(t, secure("s"), secure("c")) }},
		{"attached", func(t *testing.T) (s, c astranet.AstraNet) {
			return attachedPair(t, astranet.Config{}, astranet.Config{})
		}},
		{"attached tls", func(t *testing.T) (s, c astranet.AstraNet) { return attachedPair(t, secure("s"), secure("c")) }},
		{"loopback", func(t *testing.T) (s, c astranet.AstraNet) {
			n := newNode(t, astranet.Config{}).WithLoopBack()
			t.Cleanup(func() { n.Close() })
			return n, n
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, c := k.nodes(t)
			t.Run("dialler", func(t *testing.T) { testConns(t, s, c, false) })
			t.Run("listener", func(t *testing.T) { testConns(t, s, c, true) })
		})
	}
}

// testConns runs nettest over connections from c to s; swapped gives it the listener's end as the first.
func testConns(t *testing.T, s, c astranet.AstraNet, swapped bool) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = pair(t, s, c, "svc")
		if swapped {
			c1, c2 = c2, c1
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// attachedPair returns two nodes with a link over a pipe.
func attachedPair(t testing.TB, server, client astranet.Config) (s, c astranet.AstraNet) {
	t.Helper()
	s, c = newNode(t, server), newNode(t, client)
	a, b := pipe.New(pipe.DefaultSize)
	go s.Attach(a)
	go c.Attach(b)
	known := c.RoutesMap().Iter()
	for len(c.Routes()) == 0 && known != nil {
		known = known.Next()
	}
	return s, c
}

// TestNettestProcesses has the other end of the connections in another process. Since nettest wants both ends, that process relays
// what it has to a unix socket, whose other end is the second. So the first end is a connection of the mesh between processes, with the
// deadlines and closes that are tested, and the relay passes half closes on.
func TestNettestProcesses(t *testing.T) {
	mesh := authority(t)
	for _, k := range []struct {
		name         string
		here, there  ca.Material
		hasAuthority bool
	}{
		{name: "plain"},
		{"tls", material(t, mesh, "here"), material(t, mesh, "there"), true},
	} {
		t.Run(k.name, func(t *testing.T) {
			cfg := astranet.Config{}
			p := relayParams{Dir: t.TempDir()}
			if k.hasAuthority {
				var err error
				if cfg.Credentials, err = ca.New(k.here); err != nil {
					t.Fatal(err)
				}
				p.Credentials = &k.there
			}
			var n astranet.AstraNet
			n, p.Join = listening(t, cfg)
			taken, err := net.Listen("unix", filepath.Join(p.Dir, "taken"))
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			back, err := n.Bind("", "back")
			if err != nil {
				t.Fatal(err)
			}
			startRelay(t, p)
			t.Run("dialler", func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					return both(func() (net.Conn, error) { return n.DialTimeout("", "there", patience) }, taken.Accept)
				})
			})
			t.Run("listener", func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					return both(back.Accept, func() (net.Conn, error) { return net.Dial("unix", filepath.Join(p.Dir, "dial")) })
				})
			})
		})
	}
}

// both makes the two ends of a connection.
func both(first, second func() (net.Conn, error)) (c1, c2 net.Conn, stop func(), err error) {
	other := make(chan error, 1)
	go func() {
		var err error
		c2, err = second()
		other <- err
	}()
	c1, err = first()
	if err2 := <-other; err == nil {
		err = err2
	}
	return c1, c2, func() { c1.Close(); c2.Close() }, err
}

// relayParams say what relayChild does.
type relayParams struct {
	Join, Dir   string
	Credentials *ca.Material
}

// startRelay starts a relay in another process, until the test ends, or it is killed.
func startRelay(t *testing.T, p relayParams) (kill func()) {
	t.Helper()
	params, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPart+"=relay")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && !killed {
			t.Errorf("the other process: %v", err)
		}
	})
	fmt.Fprintf(in, "%s\n", params)
	var ready [1]byte
	if _, err := io.ReadFull(out, ready[:]); err != nil {
		t.Fatal(err)
	}
	return func() {
		killed = true
		_ = cmd.Process.Kill()
	}
}

// relayChild joins a node, binds "there", whose connections it relays to the socket "taken", and takes connections at the socket
// "dial", which it relays to the service "back".
func relayChild() int {
	var p relayParams
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return failed(err)
	}
	var cfg astranet.Config
	if p.Credentials != nil {
		var err error
		if cfg.Credentials, err = ca.New(*p.Credentials); err != nil {
			return failed(err)
		}
	}
	n := cfg.New()
	defer n.Close()
	there, err := n.Bind("", "there")
	if err != nil {
		return failed(err)
	}
	dial, err := net.Listen("unix", filepath.Join(p.Dir, "dial"))
	if err != nil {
		return failed(err)
	}
	go relayAll(there.Accept, func() (net.Conn, error) { return net.Dial("unix", filepath.Join(p.Dir, "taken")) })
	go relayAll(dial.Accept, func() (net.Conn, error) { return n.DialTimeout("", "back", patience) })
	if err := n.Join("tcp", p.Join); err != nil {
		return failed(err)
	}
	fmt.Print("+")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// relayAll relays every connection that comes to one that is made for it.
func relayAll(accept, dial func() (net.Conn, error)) {
	for {
		a, err := accept()
		if err != nil {
			return
		}
		go func() {
			defer a.Close()
			b, err := dial()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer b.Close()
			var both sync.WaitGroup
			both.Go(func() { relay(a, b) })
			both.Go(func() { relay(b, a) })
			both.Wait()
		}()
	}
}

// relay passes on what comes, and the end of it, or that nobody takes it any more.
func relay(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(interface{ CloseWrite() error }).CloseWrite()
	_ = from.(interface{ CloseRead() error }).CloseRead()
}
