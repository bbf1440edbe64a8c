package xnet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// tlsPair returns a server and a client on loopback, the server being the names.
func tlsPair(t testing.TB, names ...string) (server, client Networker) {
	t.Helper()
	sconfig, cconfig := selfSigned(t, names...)
	server, client = NetTLS(NetPlain("tcp4"), sconfig), NetTLS(NetPlain("tcp4"), cconfig)
	t.Cleanup(func() {
		server.Close()
		client.Close()
	})
	return server, client
}

// handshake accepts a connection and makes the server's side of its handshake, in the background.
func handshake(t testing.TB, l Listener) <-chan accepted {
	result := make(chan accepted, 1)
	go func() {
		conn, err := l.Accept(bounded(t))
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
		}
		result <- accepted{conn, err}
	}()
	return result
}

func TestTLS(t *testing.T) {
	server, client := tlsPair(t, "127.0.0.1")
	if got, want := client.Network(), "tcp4+tls"; got != want {
		t.Errorf("Network = %q, want %q", got, want)
	}
	if got, want := client.Name(), NetPlain("tcp4").Name(); got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	l := listen(t, server, "127.0.0.1:0")
	result := handshake(t, l)
	c1 := dial(t, client, l)
	if !c1.(*tls.Conn).ConnectionState().HandshakeComplete {
		t.Error("Dial returned before the handshake")
	}
	a := next(t, result)
	if a.err != nil {
		t.Fatal(a.err)
	}
	defer a.conn.Close()
	if _, err := io.WriteString(c1, "hi"); err != nil {
		t.Error(err)
	}
	if err := c1.(*tls.Conn).CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(a.conn); string(got) != "hi" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestTLSServerName has a network whose hosts are all one, so that any name can be dialled.
func TestTLSServerName(t *testing.T) {
	for _, tt := range []struct {
		name   string
		addr   string
		config string // its ServerName
		want   string // what the client asks for
	}{
		{name: "host", addr: "β.example:443", want: "xn--nxa.example"},
		{name: "ascii", addr: "node:443", want: "node"},
		{name: "self", addr: ":443", want: "xn--mxa"},
		{name: "config", addr: "β:443", config: "other", want: "other"},
		{name: "path", addr: "/run/socket", config: "socket.example", want: "socket.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sconfig, cconfig := selfSigned(t, tt.want)
			asked := make(chan string, 1)
			sconfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				asked <- hello.ServerName
				return nil, nil
			}
			cconfig.ServerName = tt.config
			n := &oneHost{Networker: NetPlain("tcp4")}
			defer n.Close()
			l := listen(t, NetTLS(n, sconfig), "127.0.0.1:0")
			n.addr = l.Addr().String()
			result := handshake(t, l)
			client := NetTLS(n, cconfig)
			conn, err := client.Dial(bounded(t), tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			next(t, result).conn.Close()
			if got := next(t, asked); got != tt.want {
				t.Errorf("the client asked for %q, want %q", got, tt.want)
			}
			if got := cconfig.ServerName; got != tt.config {
				t.Errorf("the user's config has ServerName %q now", got)
			}
		})
	}
}

// oneHost is a network, seen by host α, on which every address is addr.
type oneHost struct {
	Networker
	addr string
}

func (n *oneHost) Name() string { return "α" }
func (n *oneHost) Dial(ctx context.Context, _ string) (net.Conn, error) {
	return n.Networker.Dial(ctx, n.addr)
}

func TestTLSWrongName(t *testing.T) {
	server, client := tlsPair(t, "other.example")
	l := listen(t, server, "127.0.0.1:0")
	result := handshake(t, l)
	_, err := client.Dial(bounded(t), l.Addr().String())
	var wrong *tls.CertificateVerificationError
	if !errors.As(err, &wrong) {
		t.Fatalf("got error %v, want a *tls.CertificateVerificationError", err)
	}
	wantOpError(t, err, "dial", "tcp4+tls", wrong)
	a := next(t, result)
	a.conn.Close()
	if a.err == nil {
		t.Error("the server's handshake succeeded")
	}

	// Other clients are served, and the zero config trusts only the system's authorities.
	for _, config := range []*tls.Config{nil, {}} {
		result = handshake(t, l)
		n := NetTLS(NetPlain("tcp4"), config)
		_, err = n.Dial(bounded(t), l.Addr().String())
		if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) && !errors.As(err, &wrong) {
			t.Errorf("got error %v, want one of the certificate", err)
		}
		next(t, result).conn.Close()
		n.Close()
	}
}

// TestTLSSilentClient checks that one who never handshakes is only his own problem.
func TestTLSSilentClient(t *testing.T) {
	server, client := tlsPair(t, "127.0.0.1")
	l := listen(t, server, "127.0.0.1:0")
	plain := NetPlain("tcp4")
	defer plain.Close()
	dial(t, plain, l)
	silent := acceptOne(t, l)
	result := handshake(t, l)
	dial(t, client, l)
	a := next(t, result)
	if a.err != nil {
		t.Errorf("another client's handshake: %v", a.err)
	}
	a.conn.Close()

	read := make(chan error, 1)
	go func() {
		_, err := silent.Read(make([]byte, 1))
		read <- err
	}()
	silent.Close()
	if err := next(t, read); err == nil {
		t.Error("Read succeeded")
	}
}

// TestTLSDialEnds checks what ends a dial whose handshake nobody answers.
func TestTLSDialEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(cancel func(), client Networker)
		want error
	}{
		{"cancel", func(cancel func(), _ Networker) { cancel() }, context.Canceled},
		{"close", func(_ func(), client Networker) { client.Close() }, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, client := tlsPair(t, "127.0.0.1")
			plain := NetPlain("tcp4")
			defer plain.Close()
			l := listen(t, plain, "127.0.0.1:0")
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			result := make(chan error, 1)
			go func() {
				_, err := client.Dial(ctx, l.Addr().String())
				result <- err
			}()
			conn := acceptOne(t, l)
			if _, err := conn.Read(make([]byte, 1)); err != nil { // the handshake has begun
				t.Fatal(err)
			}
			tt.end(cancel, client)
			wantOpError(t, next(t, result), "dial", "tcp4+tls", tt.want)
			conn.SetDeadline(time.Now().Add(limit))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection of the failed dial is still open")
			}
		})
	}
}

func TestTLSClose(t *testing.T) {
	server, _ := tlsPair(t, "127.0.0.1")
	l := listen(t, server, "127.0.0.1:0")
	inner := l.(*tlsListener).Listener.(*plainListener).ctxListener
	results := started(t, inner, func() (net.Conn, error) { return l.Accept(context.Background()) }, 20)
	for range 2 {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		wantOpError(t, next(t, results).err, "accept", "tcp4", net.ErrClosed)
	}
	_, err := server.Dial(t.Context(), l.Addr().String())
	wantOpError(t, err, "dial", "tcp4", net.ErrClosed)
	_, err = server.Listen(t.Context(), "127.0.0.1:0")
	wantOpError(t, err, "listen", "tcp4", net.ErrClosed)
}

func TestTLSNoCertificate(t *testing.T) {
	n := NetTLS(NetPlain("tcp4"), nil)
	defer n.Close()
	_, err := n.Listen(t.Context(), "127.0.0.1:0")
	wantOpError(t, err, "listen", "tcp4+tls", errNoCertificate)
}

// A tls.Conn never writes again once a Write ran into its deadline, and says so. Three parts of nettest.TestConn
// want to, and there is no way to leave them out but -test.skip: hence another run of this program.
const tlsConnEnv = "XNET_TEST_TLS_CONN"

func TestTLSConn(t *testing.T) {
	if os.Getenv(tlsConnEnv) == "1" {
		server, client := tlsPair(t, "127.0.0.1")
		nettest.TestConn(t, connPipe(&bothWays{server, client}, "127.0.0.1:0"))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTLSConn$",
		"-test.skip=^TestTLSConn$/^(PastTimeout|FutureTimeout|ConcurrentMethods)$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), tlsConnEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// bothWays listens as one and dials as the other.
type bothWays struct {
	Networker
	client Networker
}

func (n *bothWays) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.client.Dial(ctx, addr)
}
