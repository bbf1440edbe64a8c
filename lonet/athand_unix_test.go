//go:build unix

package lonet

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// loopback returns two ends of a TCP connection.
func loopback(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	near, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// What is there is read, whatever the deadline; what isn't is not waited for.
func TestAtHand(t *testing.T) {
	near, far := loopback(t)
	near.SetReadDeadline(aLongTimeAgo)
	buf := make([]byte, 3)
	read := func(want string, wantErr error) {
		t.Helper()
		n, err := atHand{near}.Read(buf)
		if string(buf[:n]) != want || !errors.Is(err, wantErr) {
			t.Errorf("read %q, %v, want %q, %v", buf[:n], err, want, wantErr)
		}
	}
	read("", os.ErrDeadlineExceeded)
	io.WriteString(far, "abcde")
	read("abc", nil)
	read("de", nil)
	read("", os.ErrDeadlineExceeded)
	far.CloseWrite()
	read("", io.EOF)
	near.Close()
	read("", net.ErrClosed)

	near, far = loopback(t)
	far.SetLinger(0)
	far.Close()
	if n, err := (atHand{near}).Read(buf); n != 0 || !ended(err) {
		t.Errorf("after a reset: read %q, %v", buf[:n], err)
	}
}

// One who is dropped after all has said all that it must is served nonetheless.
func TestDroppedTooLate(t *testing.T) {
	n, err := Config{TempDir: t.TempDir()}.Join(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.NewHost(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	e := engineOf(n)
	dial := request{"lonett", "β:1", "α:9"}.line()
	refused := reply{network: "lonett", err: virtnet.ErrConnRefused.Error()}.line()
	for _, test := range []struct{ name, read, there, want string }{
		{"all", "", dial, refused},
		{"the rest", dial[:10], dial[10:], refused},
		{"nonsense", "> lonet", "\n", reply{network: "lonett", err: errBadRequest.Error()}.line()},
		{"half", "> lonet", " \"lonett\" dial", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := loopback(t)
			in := &incoming{engine: e, conn: near, buf: new(lineBuffer)}
			in.n = copy(in.buf[:], test.read)
			e.halfOpen.take()
			e.halfOpen.add(&in.silent, in.interrupt)
			io.WriteString(far, test.there)
			if !e.halfOpen.drop() {
				t.Fatal("nobody is dropped")
			}
			done := make(chan struct{})
			go func() { in.readLate(); close(done) }()
			far.SetReadDeadline(time.Now().Add(10 * time.Second))
			if got, err := io.ReadAll(far); string(got) != test.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			far.Close()
			<-done
			if len(e.halfOpen.places) != 0 {
				t.Errorf("%d places are taken", len(e.halfOpen.places))
			}
		})
	}
}

func (r request) line() string { return string(r.append(nil)) }
func (r reply) line() string   { return string(r.append(nil)) }
