package virtnettest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/virtnet/virtnet"
)

func TestOpErrorCheck(t *testing.T) {
	a := &virtnet.Addr{Net: "n", Host: "α", Port: 1}
	b := &virtnet.Addr{Net: "n", Host: "β", Port: 2}
	dial := func(err error) *net.OpError { return &net.OpError{Op: "dial", Net: "n", Source: a, Addr: b, Err: err} }
	var noAddr *virtnet.Addr
	for _, x := range []struct {
		name  string
		err   error
		cause error
		says  string // "" for an error that is as it should be
	}{
		{"as it should be", dial(virtnet.ErrConnRefused), virtnet.ErrConnRefused, ""},
		{"a registry's", dial(&virtnet.RegistryError{Registry: "r", Op: "query", Err: virtnet.ErrNoHost}), virtnet.ErrNoHost, ""},
		{"a context's deadline", dial(context.DeadlineExceeded), context.DeadlineExceeded, ""},
		{"a deadline", dial(os.ErrDeadlineExceeded), os.ErrDeadlineExceeded, ""},
		{"the carrier's", dial(syscall.EPIPE), errCarrier, ""},
		{"host gone", dial(virtnet.ErrNoHost), errUnreachable, ""},
		{"host closed", dial(virtnet.ErrConnRefused), errUnreachable, ""},
		{"EOF", io.EOF, io.EOF, ""},

		{"none", nil, virtnet.ErrConnRefused, "want an error"},
		{"bare", virtnet.ErrConnRefused, virtnet.ErrConnRefused, "*net.OpError"},
		{"wrapped EOF", dial(io.EOF), io.EOF, "bare"},
		{"other cause", dial(virtnet.ErrHostDown), virtnet.ErrNetDown, "want the cause"},
		{"the text only", dial(errors.New("connection refused")), virtnet.ErrConnRefused, "want the cause"},
		{"the standard error only", dial(syscall.ECONNREFUSED), virtnet.ErrConnRefused, "want the cause"},
		{"two causes", dial(errors.Join(virtnet.ErrHostDown, virtnet.ErrNetDown)), virtnet.ErrNetDown, "finds \"host is down\" too"},
		{"own end for the carrier", dial(virtnet.ErrSockDown), errCarrier, "socket is down"},
		{"closed for the carrier", dial(net.ErrClosed), errCarrier, "net.ErrClosed"},
		{"reachable", dial(virtnet.ErrHostDown), errUnreachable, "no such host"},
		{"no timeout", dial(hidden{context.DeadlineExceeded}), context.DeadlineExceeded, "Timeout() = false"},
		{"text behind", dial(hidden{virtnet.ErrNetDown}), virtnet.ErrNetDown, "want the text"},
		{"Op", &net.OpError{Op: "read", Net: "n", Source: a, Addr: b, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Op is"},
		{"Net", &net.OpError{Op: "dial", Net: "m", Source: a, Addr: b, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Net is"},
		{"Source", &net.OpError{Op: "dial", Net: "n", Source: b, Addr: b, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Source is"},
		{"no Source", &net.OpError{Op: "dial", Net: "n", Addr: b, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Source is"},
		{"Addr", &net.OpError{Op: "dial", Net: "n", Source: a, Addr: a, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Addr is"},
		{"nil Addr", &net.OpError{Op: "dial", Net: "n", Source: a, Addr: noAddr, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "Addr is"},
		{"carrier's Addr", &net.OpError{Op: "dial", Net: "n", Source: a, Addr: &net.TCPAddr{}, Err: virtnet.ErrNetDown}, virtnet.ErrNetDown, "TCPAddr"},
	} {
		got := opError{"dial", "α:1", "β:*", x.cause}.check("n", x.err)
		if (got == "") != (x.says == "") || !strings.Contains(got, x.says) {
			t.Errorf("%s: check says %q, want %q in it", x.name, got, x.says)
		}
	}
	accept := &net.OpError{Op: "accept", Net: "n", Addr: a, Err: virtnet.ErrSockDown}
	if got := (opError{"accept", "", "α:1", virtnet.ErrSockDown}).check("n", accept); got != "" {
		t.Errorf("accept: check says %q", got)
	}
	accept.Source = b
	if got := (opError{"accept", "", "α:1", virtnet.ErrSockDown}).check("n", accept); !strings.Contains(got, "want none") {
		t.Errorf("accept with a Source: check says %q", got)
	}
}

// hidden is an error that does not show the text, or the timeout, of the one in it.
type hidden struct{ err error }

func (h hidden) Error() string { return "hidden" }
func (h hidden) Unwrap() error { return h.err }
