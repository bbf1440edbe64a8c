package xnet

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"
)

// plains are the networks the system has, with an address to listen at on each.
func plains(t *testing.T, f func(t *testing.T, network, laddr string)) {
	addrs := map[string]string{"tcp": "127.0.0.1:0", "tcp4": "127.0.0.1:0"}
	if nettest.SupportsIPv6() {
		addrs["tcp6"] = "[::1]:0"
	}
	if nettest.TestableNetwork("unix") {
		addrs["unix"] = ""
	}
	for network, laddr := range addrs {
		t.Run(network, func(t *testing.T) {
			if network == "unix" {
				laddr = unixAddr(t)
			}
			f(t, network, laddr)
		})
	}
}

// unixAddr returns a path short enough for a socket, which t.TempDir's may not be.
func unixAddr(t *testing.T) string {
	dir, err := os.MkdirTemp("", "xnet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestPlain(t *testing.T) {
	plains(t, func(t *testing.T, network, laddr string) {
		n := NetPlain(network)
		if got := n.Network(); got != network {
			t.Errorf("Network = %q, want %q", got, network)
		}
		if want, err := os.Hostname(); err == nil && n.Name() != want {
			t.Errorf("Name = %q, want %q", n.Name(), want)
		}
		l := listen(t, n, laddr)
		c1 := dial(t, n, l)
		c2 := acceptOne(t, l)

		// Connections are left alone when the rest goes down.
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(c1, "hi"); err != nil {
			t.Error(err)
		}
		if err := c1.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(c2); string(got) != "hi" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestPlainClose(t *testing.T) {
	plains(t, func(t *testing.T, network, laddr string) {
		n := NetPlain(network)
		l := listen(t, n, laddr)
		addr := l.Addr().String()
		results := started(t, l.(*plainListener).ctxListener,
			func() (net.Conn, error) { return l.Accept(context.Background()) }, 20)
		for range 2 {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
		for range 20 {
			wantOpError(t, next(t, results).err, "accept", network, net.ErrClosed)
		}
		_, err := l.Accept(t.Context())
		wantOpError(t, err, "accept", network, net.ErrClosed)
		if err := l.Close(); err != nil {
			t.Errorf("second Close of the listener: %v", err)
		}
		_, err = n.Dial(t.Context(), addr)
		wantOpError(t, err, "dial", network, net.ErrClosed)
		_, err = n.Listen(t.Context(), laddr)
		wantOpError(t, err, "listen", network, net.ErrClosed)

		// The address is free.
		n = NetPlain(network)
		defer n.Close()
		listen(t, n, addr)
	})
}

func TestPlainListenerClose(t *testing.T) {
	plains(t, func(t *testing.T, network, laddr string) {
		n := NetPlain(network)
		defer n.Close()
		l := listen(t, n, laddr)
		results := started(t, l.(*plainListener).ctxListener,
			func() (net.Conn, error) { return l.Accept(context.Background()) }, 20)
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		for range 20 {
			wantOpError(t, next(t, results).err, "accept", network, net.ErrClosed)
		}
		if rest := n.(*plain).listeners; len(rest) != 0 {
			t.Errorf("the network still knows %d listeners", len(rest))
		}
	})
}

func TestPlainAcceptCancelled(t *testing.T) {
	plains(t, func(t *testing.T, network, laddr string) {
		n := NetPlain(network)
		defer n.Close()
		l := listen(t, n, laddr)
		ctx, cancel := context.WithCancel(t.Context())
		results := started(t, l.(*plainListener).ctxListener,
			func() (net.Conn, error) { return l.Accept(ctx) }, 3)
		cancel()
		for range 3 {
			wantOpError(t, next(t, results).err, "accept", network, context.Canceled)
		}
		c1 := dial(t, n, l)
		c2 := acceptOne(t, l)
		go c1.Write([]byte{1})
		if _, err := c2.Read(make([]byte, 1)); err != nil {
			t.Errorf("what came after a cancelled Accept is not what was dialled: %v", err)
		}
	})
}

// TestPlainDialClose closes the network while a dial is in progress. Nothing answers a SYN to a listener
// whose queue is full, which is hard to arrange everywhere: a resolver that waits does as well.
func TestPlainDialClose(t *testing.T) {
	asked := make(chan struct{}, 8)
	resolver := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	defer func() { net.DefaultResolver = resolver }()

	n := NetPlain("tcp")
	result := make(chan error, 1)
	go func() {
		_, err := n.Dial(bounded(t), "no-such-host.example:80")
		result <- err
	}()
	next(t, asked)
	n.Close()
	err := next(t, result)
	wantOpError(t, err, "dial", "tcp", net.ErrClosed)
	if got, want := err.Error(), "dial tcp no-such-host.example:80: use of closed network connection"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func TestPlainErrors(t *testing.T) {
	n := NetPlain("tcp4")
	defer n.Close()
	l := listen(t, n, "127.0.0.1:0")
	addr := l.Addr().String()
	_, err := n.Listen(t.Context(), addr)
	wantOpError(t, err, "listen", "tcp4", syscall.EADDRINUSE)
	l.Close()
	_, err = n.Dial(t.Context(), addr)
	wantOpError(t, err, "dial", "tcp4", syscall.ECONNREFUSED)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = n.Dial(ctx, addr)
	wantOpError(t, err, "dial", "tcp4", context.Canceled)

	for _, network := range []string{"", "udp", "ip", "tcp5", "unixgram", "unixpacket"} {
		n := NetPlain(network)
		_, err := n.Dial(t.Context(), addr)
		wantOpError(t, err, "dial", network, net.UnknownNetworkError(network))
		_, err = n.Listen(t.Context(), "127.0.0.1:0")
		wantOpError(t, err, "listen", network, net.UnknownNetworkError(network))
		n.Close()
	}
}

// connPipe makes pipes of n for nettest.
func connPipe(n Networker, laddr string) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		l, err := n.Listen(context.Background(), laddr)
		if err != nil {
			return nil, nil, nil, err
		}
		defer l.Close()
		results := make(chan accepted, 1)
		go func() {
			conn, err := l.Accept(context.Background())
			if h, ok := conn.(interface{ Handshake() error }); ok {
				err = h.Handshake()
			}
			results <- accepted{conn, err}
		}()
		c1, err = n.Dial(context.Background(), l.Addr().String())
		if err != nil {
			return nil, nil, nil, err
		}
		a := <-results
		stop = func() {
			c1.Close()
			a.conn.Close()
		}
		return c1, a.conn, stop, a.err
	}
}

func TestPlainConn(t *testing.T) {
	plains(t, func(t *testing.T, network, laddr string) {
		n := NetPlain(network)
		defer n.Close()
		nettest.TestConn(t, connPipe(n, laddr))
	})
}

func TestUntil(t *testing.T) {
	for _, which := range []int{0, 1} {
		var ctxs [2]context.Context
		var cancels [2]context.CancelFunc
		for i := range ctxs {
			ctxs[i], cancels[i] = context.WithCancel(t.Context())
		}
		ctx, release := until(ctxs[0], ctxs[1])
		if ctx.Err() != nil {
			t.Errorf("done before either is: %v", ctx.Err())
		}
		cancels[which]()
		next(t, ctx.Done())
		release()
		cancels[1-which]()
	}
}

// BenchmarkAccept is a dial, its accept, and closing both: with package net alone, and with a Networker.
func BenchmarkAccept(b *testing.B) {
	nl, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer nl.Close()
	n := NetPlain("tcp4")
	defer n.Close()
	l := listen(b, n, "127.0.0.1:0")
	ctx := b.Context()
	for _, bench := range []struct {
		name   string
		addr   string
		accept func() (net.Conn, error)
		dial   func(addr string) (net.Conn, error)
	}{
		{"net", nl.Addr().String(), nl.Accept, func(addr string) (net.Conn, error) { return net.Dial("tcp4", addr) }},
		{"plain", l.Addr().String(), func() (net.Conn, error) { return l.Accept(ctx) },
			func(addr string) (net.Conn, error) { return n.Dial(ctx, addr) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			conns := make(chan net.Conn)
			go func() {
				for range b.N {
					conn, _ := bench.accept()
					conns <- conn
				}
			}()
			for range b.N {
				c1, err := bench.dial(bench.addr)
				if err != nil {
					b.Fatal(err)
				}
				c2 := <-conns
				if c2 == nil {
					b.Fatal("accept failed")
				}
				c1.Close()
				c2.Close()
			}
		})
	}
}
