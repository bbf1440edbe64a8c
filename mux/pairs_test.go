package mux_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet/mux"
	"github.com/virtnet/virtnet/pipenet"
)

// patience bounds every wait for what must happen, in real time.
const patience = 20 * time.Second

// carriers are the connections on which sessions are tested.
var carriers = []struct {
	name   string
	pair   func(testing.TB) (a, b net.Conn)
	bubble bool // works in a bubble of synctest
}{
	{"tcp", tcpPair, false},
	{"tls", tlsPair, false},
	{"unix", unixPair, false},
	{"net.Pipe", func(testing.TB) (a, b net.Conn) { return net.Pipe() }, true},
	{"pipenet", func(t testing.TB) (a, b net.Conn) { return pipenetPair(t, 0) }, true},
	{"pipenet buffered", func(t testing.TB) (a, b net.Conn) { return pipenetPair(t, -1) }, true},
	{"stream", func(t testing.TB) (a, b net.Conn) { return nested(t, tcpPair) }, false},
	{"stream over tls", func(t testing.TB) (a, b net.Conn) { return nested(t, tlsPair) }, false},
	{"stream over pipenet", func(t testing.TB) (a, b net.Conn) {
		return nested(t, func(t testing.TB) (a, b net.Conn) { return pipenetPair(t, -1) })
	}, true},
}

// nested returns the two ends of a stream of a session over a connection.
func nested(t testing.TB, pair func(testing.TB) (a, b net.Conn)) (a, b net.Conn) {
	t.Helper()
	client, server := sessions(t, pair)
	opened, accepted := streamPair(t, client, server)
	return opened, accepted
}

// listenPair returns the two ends of a connection of the operating system.
func listenPair(t testing.TB, network, address string) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func unixPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mux") // a socket's path must be short, and that of a test's own directory may not be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	return listenPair(t, "unix", filepath.Join(dir, "s"))
}

// tlsConfigs are of the two ends of a TLS connection.
var tlsConfigs = sync.OnceValues(func() (client, server *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{"mux.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots, ServerName: "mux.test"},
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

func tlsPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	a, b = tcpPair(t)
	client, server := tlsConfigs()
	c, d := tls.Client(a, client), tls.Server(b, server)
	handshaken := make(chan error, 1)
	go func() { handshaken <- d.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-handshaken; err != nil {
		t.Fatal(err)
	}
	return c, d
}

// pipenetPair returns the two ends of a connection between hosts of a network of its own.
func pipenetPair(t testing.TB, buffer int) (a, b net.Conn) {
	t.Helper()
	n := pipenet.Config{Buffer: buffer}.New("mux")
	t.Cleanup(func() { pipenet.AsVirtNet(n).Close() })
	ctx := context.Background()
	l, err := n.Host("β").Listen(ctx, ":1")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		b, err = l.Accept(ctx)
		accepted <- err
	}()
	if a, err = n.Host("α").Dial(ctx, "β:1"); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	return a, b
}

// sessionsOn returns the two ends of a session over a connection.
func sessionsOn(t testing.TB, a, b net.Conn, clientConfig, serverConfig *mux.Config) (client, server *mux.Session) {
	t.Helper()
	client, err := mux.Client(a, clientConfig)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = mux.Server(b, serverConfig); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// streamPair opens a stream on s and accepts it on the other end.
func streamPair(t testing.TB, s, other *mux.Session) (opened, accepted *mux.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opened, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = other.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}
