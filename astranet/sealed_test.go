package astranet

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// sealedPair returns a sealed connection over TCP, and its other end.
func sealedPair(t testing.TB) (c *sealed, s *tls.Conn) {
	t.Helper()
	mesh, err := ca.Create("mesh", ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	creds := func(name string) *ca.Credentials {
		i, err := mesh.Issue(name, ca.IssueOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := ca.New(mesh.Material(i))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = near.(*net.TCPConn).SetWriteBuffer(16 << 10) // so that Writes wait
	_ = far.(*net.TCPConn).SetReadBuffer(16 << 10)
	out := &outbox{Conn: near}
	client := tls.Client(out, creds("client").Client())
	s = tls.Server(far, creds("server").Server())
	shook := make(chan error, 1)
	go func() { shook <- client.Handshake() }()
	if err := errors.Join(s.Handshake(), <-shook); err != nil {
		t.Fatal(err)
	}
	c = newSealed(client, out)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

// cut cuts data into a few slices, some of them empty.
func cut(rnd *rand.Rand, data []byte) (vec net.Buffers) {
	for len(data) > 0 {
		n := min(rnd.IntN(1<<(1+rnd.IntN(17))), len(data))
		vec = append(vec, data[:n:n])
		data = data[n:]
	}
	return vec
}

// Writes that are interrupted, and go on with what they have said is left, lose and double nothing.
func TestSealedInterrupted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c, s := sealedPair(t)
	want := make([]byte, 4<<20)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	got := make(chan []byte, 1)
	go func() {
		all, err := io.ReadAll(s)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		got <- all
	}()
	interrupts := 0
	for left := want; len(left) > 0; {
		p := left[:min(len(left), 1+rnd.IntN(1<<(1+rnd.IntN(19))))]
		left = left[len(p):]
		vec := cut(rnd, p)
		for size := int64(len(p)); size > 0; {
			_ = c.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(200)) * time.Microsecond))
			n, err := c.WriteBuffers(&vec)
			if size -= n; size < 0 {
				t.Fatalf("%d bytes more were written than there are", -size)
			}
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) && size > 0:
				interrupts++
			case err != nil:
				t.Fatalf("write: %v, with %d bytes left", err, size)
			case size > 0:
				t.Fatalf("a Write left %d bytes without an error", size)
			}
		}
		if len(vec) != 0 {
			t.Fatalf("%d slices are left of a Write that is done", len(vec))
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("got %d bytes, which are not the %d that were written", len(all), len(want))
	}
	if interrupts == 0 {
		t.Error("no Write was interrupted")
	}
	t.Logf("%d Writes were interrupted", interrupts)
}

// Close ends a Write that waits for an end which reads nothing.
func TestSealedClose(t *testing.T) {
	c, _ := sealedPair(t)
	wrote := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				wrote <- err
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond) // most often it waits then; it ends all the same
	closed := make(chan struct{})
	go func() { _ = c.Close(); close(closed) }()
	late := time.After(10 * time.Second)
	for range 2 {
		select {
		case <-wrote:
		case <-closed:
			closed = nil
		case <-late:
			t.Fatal("it hangs")
		}
	}
}
