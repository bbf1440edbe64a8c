package ca_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// TestMain fails if a goroutine of this package is left when all tests are done.
func TestMain(m *testing.M) {
	code := m.Run()
	left := "x"
	for end := time.Now().Add(5 * time.Second); left != "" && time.Now().Before(end); time.Sleep(time.Millisecond) {
		left = ownGoroutines()
	}
	if left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func ownGoroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var own []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if _, by, ok := strings.Cut(stack, "created by "); ok && strings.Contains(by, "astranet/ca") {
			own = append(own, stack)
		}
	}
	return strings.Join(own, "\n\n")
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

func authority(t testing.TB, name string) *ca.Authority {
	t.Helper()
	return must[*ca.Authority](t)(ca.Create(name, ca.Options{}))
}

func issue(t testing.TB, a *ca.Authority, name string) *ca.Issued {
	t.Helper()
	return must[*ca.Issued](t)(a.Issue(name, ca.IssueOptions{}))
}

// node returns the credentials of a new node.
func node(t testing.TB, a *ca.Authority, name string) *ca.Credentials {
	t.Helper()
	return must[*ca.Credentials](t)(ca.New(a.Material(issue(t, a, name))))
}

// An outcome is what the two ends of a connection have seen: their handshake, and an exchange of a byte each way.
type outcome struct{ client, server error }

// meet has two ends shake hands, and the client then read what the server says. It closes nothing before both have seen
// what there is to see.
func meet(t testing.TB, client, server *tls.Config) (c, s *tls.Conn, o outcome) {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	near := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
	far := must[net.Conn](t)(l.Accept())
	return meetOn(t, near, far, client, server)
}

func meetOn(t testing.TB, near, far net.Conn, client, server *tls.Config) (c, s *tls.Conn, o outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { near.Close(); far.Close() })()
	t.Cleanup(func() { near.Close(); far.Close() })
	c, s = tls.Client(near, client), tls.Server(far, server)
	done := make(chan error)
	go func() {
		err := s.HandshakeContext(ctx)
		if err == nil {
			_, err = s.Write([]byte("s"))
		}
		done <- err
	}()
	o.client = c.HandshakeContext(ctx)
	if o.client == nil {
		_, o.client = c.Read(make([]byte, 1))
	}
	o.server = <-done
	return c, s, o
}

// A refusal is what an error must be.
type refusal struct {
	is   error
	text string // with %s for the serial number
}

func checkError(t *testing.T, who string, err error, want refusal, serial ...any) {
	t.Helper()
	text := want.text
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, serial...)
	}
	if want.is == nil && text == "" {
		if err != nil {
			t.Errorf("%s: %v, want no error", who, err)
		}
		return
	}
	if !errors.Is(err, want.is) || fmt.Sprint(err) != text {
		t.Errorf("%s: error\n%v (is %v: %v), want\n%v", who, err, want.is, errors.Is(err, want.is), text)
	}
	if e, ok := errors.AsType[*ca.Error](err); want.is != nil && (!ok || e.Reason != want.is) {
		t.Errorf("%s: error %#v has not reason %v", who, err, want.is)
	}
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func serial(i *ca.Issued) string { return ca.Serial(i.Cert.SerialNumber) }

// certs returns the chain of a certificate that an authority without others above it has issued.
func certs(i *ca.Issued) []*x509.Certificate { return []*x509.Certificate{i.Cert} }

// plain has c shake hands, as the end that dials or the other, with an end that says something instead.
func plain(t *testing.T, c *ca.Credentials, dials bool, says string) error {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		if dials {
			far.Read(make([]byte, 1<<16))
		}
		far.Write([]byte(says))
		far.Read(make([]byte, 1<<16))
	}()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	if dials {
		return tls.Client(near, c.Client()).Handshake()
	}
	return tls.Server(near, c.Server()).Handshake()
}
