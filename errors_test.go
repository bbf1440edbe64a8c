package virtnet_test

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/virtnet/virtnet"
)

func TestCauses(t *testing.T) {
	standard := []error{net.ErrClosed, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED, os.ErrNotExist}
	all := []struct {
		err  error
		text string
		std  error // of the standard errors this one and no other, if any
	}{
		{virtnet.ErrNetDown, "network is down", net.ErrClosed},
		{virtnet.ErrHostDown, "host is down", net.ErrClosed},
		{virtnet.ErrSockDown, "socket is down", net.ErrClosed},
		{virtnet.ErrAddrAlreadyUsed, "address already in use", syscall.EADDRINUSE},
		{virtnet.ErrAddrNoListen, "cannot listen on requested address", syscall.EADDRNOTAVAIL},
		{virtnet.ErrConnRefused, "connection refused", syscall.ECONNREFUSED},
		{virtnet.ErrRegistryDown, "registry is down", net.ErrClosed},
		{virtnet.ErrNoHost, "no such host", nil},
		{virtnet.ErrHostDup, "host already registered", nil},
	}
	for _, x := range all {
		wantText(t, x.err, x.text)
		for _, wrapped := range []error{x.err, &net.OpError{Op: "dial", Err: x.err},
			&net.OpError{Op: "dial", Err: &virtnet.RegistryError{Op: "query", Err: x.err}}} {
			for _, std := range standard {
				if got, want := errors.Is(wrapped, std), std == x.std; got != want {
					t.Errorf("errors.Is(%q, %q) = %v, want %v", wrapped, std, got, want)
				}
			}
			for _, other := range all {
				if got, want := errors.Is(wrapped, other.err), other.err == x.err; got != want {
					t.Errorf("errors.Is(%q, %q) = %v, want %v", wrapped, other.err, got, want)
				}
			}
			var no interface{ NoSuchHost() bool }
			if got, want := errors.As(wrapped, &no) && no.NoSuchHost(), x.err == virtnet.ErrNoHost; got != want {
				t.Errorf("%q: NoSuchHost %v, want %v", wrapped, got, want)
			}
		}
	}
}

func TestRegistryError(t *testing.T) {
	for _, x := range []struct {
		err     virtnet.RegistryError
		text    string
		timeout bool
	}{
		{virtnet.RegistryError{Registry: "ram(pipeα)", Op: "announce", Args: []string{"α", "127.0.0.1:1"}, Err: virtnet.ErrHostDup},
			`ram(pipeα): announce ["α" "127.0.0.1:1"]: host already registered`, false},
		{virtnet.RegistryError{Registry: "r", Op: "query", Args: "α", Err: context.DeadlineExceeded},
			`r: query "α": context deadline exceeded`, true},
		{virtnet.RegistryError{Registry: "r", Op: "query", Args: "α", Err: context.Canceled},
			`r: query "α": context canceled`, false},
		{virtnet.RegistryError{Registry: "r", Op: "query", Args: "α", Err: &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}},
			`r: query "α": read: i/o timeout`, true},
	} {
		wantText(t, &x.err, x.text)
		if x.err.Timeout() != x.timeout {
			t.Errorf("%v: Timeout() = %v, want %v", &x.err, x.err.Timeout(), x.timeout)
		}
		if oe := (&net.OpError{Op: "dial", Err: &x.err}); oe.Timeout() != x.timeout {
			t.Errorf("%v: Timeout() = %v, want %v", oe, oe.Timeout(), x.timeout)
		}
		if x.err.Cause() != x.err.Err || x.err.Unwrap() != x.err.Err {
			t.Errorf("%v: Cause %v, Unwrap %v, want %v", &x.err, x.err.Cause(), x.err.Unwrap(), x.err.Err)
		}
		var re *virtnet.RegistryError
		if !errors.As(&net.OpError{Op: "dial", Err: &x.err}, &re) || re != &x.err {
			t.Errorf("errors.As does not find %v", &x.err)
		}
	}
}
