package virtnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// on returns a connection α:1->β:80 on a fake network, over that carrier.
func on(t *testing.T, c net.Conn) *virtnet.Conn {
	t.Helper()
	f := newFake(t, virtnet.Config{})
	return f.on(f.host("α"), c)
}

// on returns a connection of h over that carrier.
func (f *fake) on(h *virtnet.Host, c net.Conn) *virtnet.Conn {
	f.Helper()
	f.query = func(context.Context, string) (string, error) { return "", nil }
	f.dial = func(_ context.Context, _, dst *virtnet.Addr, _ string) (net.Conn, *virtnet.Addr, error) {
		return c, dst, nil
	}
	conn, err := h.Dial(f.Context(), "β:80")
	if err != nil {
		f.Fatal(err)
	}
	return conn.(*virtnet.Conn)
}

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// A carrier that can do nothing but what a net.Conn can.
func TestConnPlainCarrier(t *testing.T) {
	carrier := newCarrier()
	c := on(t, carrier)
	if c.NetConn() != carrier {
		t.Error("NetConn is not the carrier")
	}
	for name, half := range map[string]func() error{"CloseWrite": c.CloseWrite, "CloseRead": c.CloseRead} {
		err := half()
		wantText(t, err, "close fake α:1->β:80: unsupported operation")
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
	}
	if _, err := c.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SyscallConn: %v, want errors.ErrUnsupported", err)
	}
	wantText(t, c.Close(), "")
	wantText(t, c.CloseWrite(), "close fake α:1->β:80: socket is down")
	wantText(t, c.CloseRead(), "close fake α:1->β:80: socket is down")
}

// A carrier of the operating system can do more, and all of that is there.
func TestConnTCPCarrier(t *testing.T) {
	tcp, peer := tcpPair(t)
	c := on(t, tcp)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	called := false
	if err := raw.Control(func(uintptr) { called = true }); err != nil || !called {
		t.Errorf("Control: %v", err)
	}

	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	wantText(t, c.CloseWrite(), "")
	if got, err := io.ReadAll(peer); string(got) != "hello" || err != nil {
		t.Errorf("the peer reads %q, %v", got, err)
	}
	_, err = c.Write([]byte("more"))
	wantText(t, err, "write fake α:1->β:80: write: broken pipe") // the addresses are not the carrier's
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%v does not match EPIPE", err)
	}
	if _, err := peer.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 6)
	if _, err := io.ReadFull(c, buf); string(buf) != "answer" || err != nil {
		t.Errorf("read %q, %v", buf, err)
	}
	wantText(t, c.CloseRead(), "")
	if _, err := c.Read(buf); err != io.EOF {
		t.Errorf("Read after CloseRead: %v, want io.EOF", err)
	}
}

// deadlines counts calls of SetDeadline.
type deadlines struct {
	*carrier
	both int
}

func (d *deadlines) SetDeadline(t time.Time) error {
	d.both++
	return d.carrier.SetDeadline(t)
}

// Deadlines are the carrier's, and their errors the connection's.
func TestConnDeadlines(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α := f.host("α")
	c := f.on(α, newCarrier())
	past := time.Unix(1, 0)
	wantText(t, c.SetReadDeadline(past), "")
	_, err := c.Read(make([]byte, 1))
	wantText(t, err, "read fake α:1->β:80: i/o timeout")
	wantText(t, c.SetWriteDeadline(past), "")
	_, err = c.Write(make([]byte, 1))
	wantText(t, err, "write fake α:1->β:80: i/o timeout")
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	wantText(t, c.SetDeadline(time.Time{}), "")
	once := &deadlines{carrier: newCarrier()}
	wantText(t, f.on(α, once).SetDeadline(past), "")
	if once.both != 1 {
		t.Errorf("SetDeadline has called the carrier's %d times, want 1", once.both)
	}

	wantText(t, c.Close(), "")
	set := map[string]func(time.Time) error{
		"SetDeadline": c.SetDeadline, "SetReadDeadline": c.SetReadDeadline, "SetWriteDeadline": c.SetWriteDeadline}
	wantSet := func(want string, cause error) {
		t.Helper()
		for name, set := range set {
			err := set(past)
			wantText(t, err, want)
			if !errors.Is(err, cause) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v, want %v and net.ErrClosed", name, err, cause)
			}
		}
	}
	wantSet("set fake α:1: socket is down", virtnet.ErrSockDown)
	wantText(t, α.Close(), "")
	wantSet("set fake α:1: host is down", virtnet.ErrHostDown)
	wantText(t, f.SubNetwork.Close(), "")
	wantSet("set fake α:1: network is down", virtnet.ErrNetDown)
}

// An error of the carrier's Close reaches the caller, once, without the carrier's addresses.
func TestConnCloseError(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α := f.host("α")
	sorry := errors.New("sorry")
	c := f.on(α, failing{newCarrier(), &net.OpError{Op: "close", Net: "wire", Err: sorry}})
	err := c.Close()
	wantText(t, err, "close fake α:1->β:80: sorry")
	if !errors.Is(err, sorry) {
		t.Errorf("%v does not match the carrier's error", err)
	}
	wantText(t, c.Close(), "")
	f.wantFree(α, 1)

	// A host that goes down has nobody to tell.
	c = f.on(α, failing{newCarrier(), sorry})
	wantText(t, α.Close(), "")
	wantText(t, c.Close(), "")
}

// failing is a carrier whose Close fails.
type failing struct {
	net.Conn
	err error
}

func (f failing) Close() error {
	_ = f.Conn.Close()
	return f.err
}
