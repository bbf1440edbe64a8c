package carrier

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestCarriers checks that each carrier carries bytes both ways, and ends.
func TestCarriers(t *testing.T) {
	for _, name := range []string{"tcp", "tls", "path"} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			client, server, err := Pair(c)
			if err != nil {
				t.Fatal(err)
			}
			deadline(client, server)
			transfer(t, client, server)
			transfer(t, server, client)
			client.Close()
			if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read after the other end's Close: %d, %v, want 0, EOF", n, err)
			}
			server.Close()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if _, err := c.Accept(); err == nil {
				t.Error("Accept after Close: no error")
			}
		})
	}
}

func TestOpenUnknown(t *testing.T) {
	_, err := Open("pigeon")
	if want := `carrier "pigeon" is not known: tcp, tls and path are`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestPairShakesHands checks that peers get TLS connections whose state they can look at.
func TestPairShakesHands(t *testing.T) {
	c, err := Open("tls")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, server, err := Pair(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer server.Close()
	for _, end := range []net.Conn{client, server} {
		if s := end.(*tls.Conn).ConnectionState(); !s.HandshakeComplete || s.Version != tls.VersionTLS13 {
			t.Errorf("handshake complete: %v, version %x, want true, %x", s.HandshakeComplete, s.Version, tls.VersionTLS13)
		}
	}
}

// TestHandshakeFails checks that a failed handshake is an error, and waits for nothing.
func TestHandshakeFails(t *testing.T) {
	ca, sa := net.Pipe()
	deadline(ca, sa)
	cert, err := certificate("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	client := tls.Client(ca, &tls.Config{ServerName: "localhost"})
	server := tls.Server(sa, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := handshake(client, server); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want an error about the certificate", err)
	}
	client.Close()
	server.Close()
}

func deadline(conns ...net.Conn) {
	for _, c := range conns {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
}

// transfer sends bytes, more than a path carries at once, and looks whether they arrive.
func transfer(t *testing.T, from, to net.Conn) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 3*parcel/16)
	written := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		written <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("what has come is not what was sent")
	}
}
