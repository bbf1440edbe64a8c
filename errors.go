package virtnet

import (
	"fmt"
	"net"
	"syscall"
)

// The causes of errors on a virtual network. Each matches, by errors.Is, the standard error named beside it.
var (
	// ErrNetDown says that the sub-network is closed, or that the network under it is gone (net.ErrClosed).
	ErrNetDown error = &cause{"network is down", net.ErrClosed}
	// ErrHostDown says that the host is closed (net.ErrClosed).
	ErrHostDown error = &cause{"host is down", net.ErrClosed}
	// ErrSockDown says that the connection or listener is closed (net.ErrClosed).
	ErrSockDown error = &cause{"socket is down", net.ErrClosed}

	// ErrAddrAlreadyUsed says that the port is taken (syscall.EADDRINUSE).
	ErrAddrAlreadyUsed error = &cause{"address already in use", syscall.EADDRINUSE}
	// ErrAddrNoListen says that the address is not one of this host's (syscall.EADDRNOTAVAIL).
	ErrAddrNoListen error = &cause{"cannot listen on requested address", syscall.EADDRNOTAVAIL}
	// ErrConnRefused says that nobody listens at the dialled address, or its queue is full, or it went down
	// before it accepted (syscall.ECONNREFUSED).
	ErrConnRefused error = &cause{"connection refused", syscall.ECONNREFUSED}

	// ErrRegistryDown says that the registry of the network is closed (net.ErrClosed).
	ErrRegistryDown error = &cause{"registry is down", net.ErrClosed}
	// ErrNoHost says that no host of that name is on the network.
	ErrNoHost error = &noHost{cause{"no such host", nil}}
	// ErrHostDup says that the network already has a host of that name.
	ErrHostDup error = &cause{"host already registered", nil}
)

// cause is an error with a standard error that it also is.
type cause struct {
	text string
	std  error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return c.std != nil && target == c.std }

// noHost lets packages that do not know virtnet recognise a name that is not there.
type noHost struct{ cause }

func (*noHost) NoSuchHost() bool { return true }

// A RegistryError says which operation failed on which registry. Announce and Query return it with one of
// the causes [ErrRegistryDown], [ErrNoHost] (Query) and [ErrHostDup] (Announce), or with another error.
type RegistryError struct {
	Registry string // name of the registry
	Op       string // "announce", "query", ...
	Args     any    // what the operation was called with
	Err      error  // why it failed
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("%s: %s %q: %s", e.Registry, e.Op, e.Args, e.Err)
}

// Cause returns the error without the operation's context, as [RegistryError.Unwrap] does.
func (e *RegistryError) Cause() error { return e.Err }

// Unwrap returns the cause, for errors.Is and errors.As.
func (e *RegistryError) Unwrap() error { return e.Err }

// Timeout tells whether the operation ran into a deadline, a context's included.
func (e *RegistryError) Timeout() bool {
	t, ok := e.Err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
