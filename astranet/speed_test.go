package astranet_test

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/internal/ratio"
)

func init() { children["server"] = serverChild }

// services are what the other process serves, each at a node and at a listener of the connections that a node's are compared with.
var services = map[string]func(net.Conn){"echo": echo, "sink": sink, "once": once}

// echo sends back what comes.
func echo(c net.Conn) {
	buf := make([]byte, 64)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// sink reads as many bytes as 8 bytes before them say, and answers with one, again and again.
func sink(c net.Conn) {
	var head [8]byte
	buf := make([]byte, 128<<10)
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		for left := int(binary.BigEndian.Uint64(head[:])); left > 0; {
			n, err := c.Read(buf[:min(left, len(buf))])
			if err != nil {
				return
			}
			left -= n
		}
		if _, err := c.Write(head[:1]); err != nil {
			return
		}
	}
}

// bufs are kept, so that allocations are those of what is measured.
var bufs = sync.Pool{New: func() any { return new([64]byte) }}

// once answers one request.
func once(c net.Conn) {
	buf := bufs.Get().(*[64]byte)
	defer bufs.Put(buf)
	if _, err := io.ReadFull(c, buf[:]); err == nil {
		_, _ = c.Write(buf[:])
	}
}

// A server is what another process offers.
type server struct {
	Link string            // the address of its node
	Raw  map[string]string // those of its other listeners, by service
}

// serverChild serves, with TLS if its input has credentials, until that ends.
func serverChild() int {
	var m *ca.Material
	if err := json.NewDecoder(os.Stdin).Decode(&m); err != nil {
		return failed(err)
	}
	cfg, secure, err := withCredentials(m)
	if err != nil {
		return failed(err)
	}
	n := cfg.New()
	defer n.Close()
	if err := n.ListenAndServe("tcp", "127.0.0.1:0"); err != nil {
		return failed(err)
	}
	s := server{n.Addrs()[0].String(), make(map[string]string)}
	for name, f := range services {
		l, err := n.Bind("", name)
		if err != nil {
			return failed(err)
		}
		raw, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return failed(err)
		}
		s.Raw[name] = raw.Addr().String()
		if m != nil {
			raw = tls.NewListener(raw, secure.Server())
		}
		go serveAll(l, f)
		go serveAll(raw, f)
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return failed(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func withCredentials(m *ca.Material) (cfg astranet.Config, c *ca.Credentials, err error) {
	if m != nil {
		c, err = ca.New(*m)
		cfg.Credentials = c
	}
	return cfg, c, err
}

func serveAll(l net.Listener, f func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			f(c)
		}()
	}
}

// startServer starts another process that serves.
func startServer(t testing.TB, m *ca.Material) (s server) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPart+"=server")
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
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	})
	if err := json.NewEncoder(in).Encode(m); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// BenchmarkProcesses compares connections between two processes, with TCP connections to the same process, or if the link is
// TLS, with those of TLS.
func BenchmarkProcesses(b *testing.B) {
	mesh := authority(b)
	here, there := material(b, mesh, "here"), material(b, mesh, "there")
	for _, k := range []struct {
		name        string
		here, there *ca.Material
	}{{"tcp", nil, nil}, {"tls", &here, &there}} {
		b.Run(k.name, func(b *testing.B) {
			s := startServer(b, k.there)
			cfg, secure, err := withCredentials(k.here)
			if err != nil {
				b.Fatal(err)
			}
			n := newNode(b, cfg)
			if err := n.Join("tcp", s.Link); err != nil {
				b.Fatal(err)
			}
			ours := func(service string) func() (net.Conn, error) {
				return func() (net.Conn, error) { return n.Dial("", service) }
			}
			raw := func(service string) func() (net.Conn, error) {
				if secure == nil {
					return func() (net.Conn, error) { return net.Dial("tcp", s.Raw[service]) }
				}
				return func() (net.Conn, error) { return tls.Dial("tcp", s.Raw[service], secure.Client()) }
			}
			for _, m := range []struct {
				name, service string
				side          func(b *testing.B, dial func() (net.Conn, error)) ratio.Side
			}{
				{"stream", "sink", streamTo},
				{"pingpong", "echo", pingPong},
				{"request", "once", requests1},
				{"request16", "once", requests16},
			} {
				b.Run(m.name, func(b *testing.B) {
					ratio.Compare(b, m.side(b, ours(m.service)), m.side(b, raw(m.service)))
				})
			}
		})
	}
}

func dialOne(b *testing.B, dial func() (net.Conn, error)) net.Conn {
	b.Helper()
	c, err := dial()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// streamTo makes Writes of 128 KiB to sink, and waits until it has read them.
func streamTo(b *testing.B, dial func() (net.Conn, error)) ratio.Side {
	c := dialOne(b, dial)
	buf := make([]byte, 128<<10)
	return func(n int) {
		var head [8]byte
		binary.BigEndian.PutUint64(head[:], uint64(n*len(buf)))
		_, err := c.Write(head[:])
		for i := 0; i < n && err == nil; i++ {
			_, err = c.Write(buf)
		}
		if err == nil {
			_, err = c.Read(head[:1])
		}
		if err != nil {
			b.Error(err)
		}
	}
}

// pingPong makes round trips of 64 bytes to echo.
func pingPong(b *testing.B, dial func() (net.Conn, error)) ratio.Side {
	c := dialOne(b, dial)
	var buf [64]byte
	return func(n int) {
		for range n {
			_, err := c.Write(buf[:])
			if err == nil {
				_, err = io.ReadFull(c, buf[:])
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	}
}

// requests1 dials once, sends a request, reads the answer and closes, for each request.
func requests1(b *testing.B, dial func() (net.Conn, error)) ratio.Side {
	var buf [64]byte
	return func(n int) {
		for range n {
			if err := ask(dial, buf[:]); err != nil {
				b.Error(err)
				return
			}
		}
	}
}

// requests16 is requests1 with 16 at once.
func requests16(b *testing.B, dial func() (net.Conn, error)) ratio.Side {
	const atOnce = 16
	one := make([]ratio.Side, atOnce)
	for i := range one {
		one[i] = requests1(b, dial)
	}
	return func(n int) {
		var wg sync.WaitGroup
		for i, f := range one {
			wg.Go(func() { f((n + i) / atOnce) })
		}
		wg.Wait()
	}
}

func ask(dial func() (net.Conn, error), buf []byte) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return nil
}
