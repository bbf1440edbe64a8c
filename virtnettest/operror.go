package virtnettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/virtnet/virtnet"
)

// opError is the error that an operation has to return, a *net.OpError.
type opError struct {
	op     string
	source string // "host:port", "host:*" for any port of it, "" for none
	addr   string // likewise
	cause  error  // one of causes, or io.EOF, or one of the outcomes below
}

// Outcomes that are not a single cause.
var (
	// errCarrier is an error of the engine's own, which blames neither this end nor a deadline.
	errCarrier = errors.New("an error of the network's own")
	// errUnreachable is what a dial to a host that is gone gives.
	errUnreachable = errors.New("ErrNoHost or ErrConnRefused")
)

// causes are all that an error can have as its cause, with the standard error that it also has to match, and
// its text.
var causes = []struct {
	err, std error
	text     string
	timeout  bool
}{
	{virtnet.ErrNetDown, net.ErrClosed, "network is down", false},
	{virtnet.ErrHostDown, net.ErrClosed, "host is down", false},
	{virtnet.ErrSockDown, net.ErrClosed, "socket is down", false},
	{virtnet.ErrAddrAlreadyUsed, syscall.EADDRINUSE, "address already in use", false},
	{virtnet.ErrAddrNoListen, syscall.EADDRNOTAVAIL, "cannot listen on requested address", false},
	{virtnet.ErrConnRefused, syscall.ECONNREFUSED, "connection refused", false},
	{virtnet.ErrNoHost, virtnet.ErrNoHost, "no such host", false},
	{context.Canceled, context.Canceled, "context canceled", false},
	{context.DeadlineExceeded, context.DeadlineExceeded, "context deadline exceeded", true},
	{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, "i/o timeout", true},
}

// check returns what is wrong with err, "" if nothing is.
func (want opError) check(network string, err error) string {
	switch {
	case want.cause == io.EOF:
		if err != io.EOF {
			return "want io.EOF, bare"
		}
		return ""
	case err == nil:
		return "want an error with the cause " + want.cause.Error()
	}
	oe, ok := err.(*net.OpError)
	switch {
	case !ok:
		return fmt.Sprintf("it is a %T, want a *net.OpError", err)
	case oe.Op != want.op:
		return fmt.Sprintf("Op is %q, want %q", oe.Op, want.op)
	case oe.Net != network:
		return fmt.Sprintf("Net is %q, want %q", oe.Net, network)
	}
	if problem := checkAddr("Source", oe.Source, network, want.source); problem != "" {
		return problem
	}
	if problem := checkAddr("Addr", oe.Addr, network, want.addr); problem != "" {
		return problem
	}
	return want.checkCause(oe)
}

func (want opError) checkCause(oe *net.OpError) string {
	switch want.cause {
	case errCarrier:
		for _, c := range causes {
			if errors.Is(oe, c.err) && c.err != virtnet.ErrConnRefused {
				return fmt.Sprintf("want %v, but its cause is %q", want.cause, c.text)
			}
		}
		if errors.Is(oe, net.ErrClosed) || errors.Is(oe, io.EOF) {
			return "want " + want.cause.Error() + ", but it matches net.ErrClosed or io.EOF"
		}
		return ""
	case errUnreachable:
		want.cause = virtnet.ErrNoHost
		if errors.Is(oe, virtnet.ErrConnRefused) {
			want.cause = virtnet.ErrConnRefused
		}
	}
	i := slices.IndexFunc(causes, func(c struct {
		err, std error
		text     string
		timeout  bool
	}) bool {
		return c.err == want.cause
	})
	if i < 0 {
		return fmt.Sprintf("BUG: the suite wants the cause %v", want.cause)
	}
	c := causes[i]
	switch {
	case !errors.Is(oe, c.err):
		return fmt.Sprintf("want the cause %q", c.text)
	case !errors.Is(oe, c.std):
		return fmt.Sprintf("errors.Is does not find the standard error %q in it", c.std)
	case oe.Timeout() != c.timeout:
		return fmt.Sprintf("Timeout() = %v, want %v", oe.Timeout(), c.timeout)
	}
	for _, other := range causes {
		if other.err != c.err && errors.Is(oe, other.err) {
			return fmt.Sprintf("want the cause %q only, but errors.Is finds %q too", c.text, other.text)
		}
	}
	// What sits between the two may say more: which registry, which address.
	if text := oe.Error(); !strings.HasPrefix(text, want.prefix(oe)+": ") || !strings.HasSuffix(text, ": "+c.text) {
		return fmt.Sprintf("want the text %q", want.prefix(oe)+": … "+c.text)
	}
	return ""
}

// prefix is how the text of the error begins, as package net has it.
func (want opError) prefix(oe *net.OpError) string {
	s := oe.Op + " " + oe.Net
	if oe.Source != nil {
		s += " " + oe.Source.String()
	}
	switch {
	case oe.Addr == nil:
	case oe.Source == nil:
		s += " " + oe.Addr.String()
	default:
		s += "->" + oe.Addr.String()
	}
	return s
}

// checkAddr checks an address of an error against a pattern, see opError.
func checkAddr(name string, a net.Addr, network, want string) string {
	if want == "" {
		if a != nil {
			return fmt.Sprintf("%s is %v, want none", name, a)
		}
		return ""
	}
	va, ok := a.(*virtnet.Addr)
	if !ok || va == nil {
		return fmt.Sprintf("%s is %v (a %T), want the *virtnet.Addr %s", name, a, a, want)
	}
	host, any := strings.CutSuffix(want, ":*")
	if va.Net != network || any && va.Host != host || !any && va.String() != want {
		return fmt.Sprintf("%s is %s %s, want %s %s", name, va.Net, va, network, want)
	}
	return ""
}

// anyPort is the pattern of an address of h.
func anyPort(h *virtnet.Host) string { return h.Name() + ":*" }

// at is the address of h at port.
func at(h *virtnet.Host, port int) string {
	return (&virtnet.Addr{Host: h.Name(), Port: port}).String()
}
