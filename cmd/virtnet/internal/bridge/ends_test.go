package bridge

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// What is closed under Guard is reset, but for what Close closes.
func TestGuard(t *testing.T) {
	for _, k := range carriers {
		for _, test := range []struct {
			name  string
			close func(near full)
			want  error // of the far end's Read; nil is EOF
		}{
			{"closed", func(c full) { c.Close() }, nil},
			{"guarded", func(c full) { Guard(c); c.Close() }, syscall.ECONNRESET},
			{"guarded, closed in good order", func(c full) { Guard(c); Close(c) }, nil},
			{"guarded, half closed", func(c full) { Guard(c); CloseWrite(c) }, nil},
			{"reset", func(c full) { Reset(c) }, syscall.ECONNRESET},
			{"reset twice", func(c full) { Reset(c); Reset(c) }, syscall.ECONNRESET},
		} {
			t.Run(k.name+" "+test.name, func(t *testing.T) {
				near, far := k.pair(t)
				test.close(near)
				want := test.want
				if !k.resets {
					want = nil
				}
				if _, err := io.ReadAll(far); err != want && !errors.Is(err, want) {
					t.Errorf("the far end got %v, want %v", err, want)
				}
			})
		}
	}
}

// resetter is a connection whose carrier has a reset that is not TCP's.
type resetter struct {
	net.Conn
	reset bool
}

func (r *resetter) Reset() error {
	r.reset = true
	return nil
}

// wrapper hides what its connection can do, but for its NetConn.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

func TestResetOfCarrier(t *testing.T) {
	a, b := net.Pipe()
	r := &resetter{Conn: a}
	Reset(wrapper{wrapper{r}})
	if !r.reset {
		t.Error("the carrier was not reset")
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v; want the connection closed", err)
	}
}

func TestCloseWriteUnsupported(t *testing.T) {
	a, _ := net.Pipe()
	defer a.Close()
	if err := CloseWrite(a); err != errors.ErrUnsupported {
		t.Errorf("got %v", err)
	}
}
