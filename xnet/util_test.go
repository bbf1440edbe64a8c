package xnet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// limit is what a test waits for things that ought to happen at once.
const limit = 10 * time.Second

// bounded returns a context that ends a test's wait, should nothing else.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// listen listens on n until the test ends.
func listen(t testing.TB, n Networker, laddr string) Listener {
	t.Helper()
	l, err := n.Listen(bounded(t), laddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects to l until the test ends.
func dial(t testing.TB, n Networker, l Listener) net.Conn {
	t.Helper()
	conn, err := n.Dial(bounded(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// acceptOne accepts a connection that is closed when the test ends.
func acceptOne(t testing.TB, l Listener) net.Conn {
	t.Helper()
	conn, err := l.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wantOpError checks that err is a *net.OpError of op, on network, with the cause.
func wantOpError(t testing.TB, err error, op, network string, cause error) {
	t.Helper()
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != op || oe.Net != network || !errors.Is(err, cause) {
		t.Errorf("got error %v (%T), want a *net.OpError of %s %s with cause %v", err, err, op, network, cause)
	}
}

// started begins n Accepts and returns where their results come, once all wait.
func started(t testing.TB, l *ctxListener, accept func() (net.Conn, error), n int) <-chan accepted {
	t.Helper()
	results := make(chan accepted, n)
	before := waiting(l)
	for range n {
		go func() {
			conn, err := accept()
			results <- accepted{conn, err}
		}()
	}
	for end := time.Now().Add(limit); waiting(l) < before+n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d Accepts wait, want %d", waiting(l), before+n)
		}
	}
	return results
}

func waiting(l *ctxListener) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}

// next returns what comes on results, which must be soon.
func next[T any](t testing.TB, results <-chan T) T {
	t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(limit):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// fakeListener is a net.Listener whose Accept returns what the test sends on next.
type fakeListener struct {
	next   chan accepted
	closed chan struct{}
	once   sync.Once
}

func newFakeListener() *fakeListener {
	return &fakeListener{next: make(chan accepted), closed: make(chan struct{})}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.next:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *fakeListener) Addr() net.Addr { return textAddr{"fake", "α:1"} }

// fakeConn is a connection of which only Close is of interest.
type fakeConn struct {
	net.Conn
	closed chan struct{}
}

func newFakeConn() *fakeConn { return &fakeConn{closed: make(chan struct{})} }

func (c *fakeConn) Close() error {
	close(c.closed)
	return nil
}

// selfSigned returns configs of a server that is the names and addresses, and of a client that trusts it.
func selfSigned(t testing.TB, names ...string) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots}
}
