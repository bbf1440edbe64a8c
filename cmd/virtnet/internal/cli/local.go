package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// A local address is one of the operating system's, as commands take it: "host:port", "port" or ":port" on the loopback
// interface, or "unix:/path".
type localAddr struct {
	network string // "tcp", "unix"
	host    string // of tcp; "" is the loopback interface
	port    string // of tcp
	path    string // of unix
}

// parseLocal parses a local address. The error is a usage error.
func parseLocal(arg string) (localAddr, error) {
	if path, ok := strings.CutPrefix(arg, "unix:"); ok {
		if path == "" {
			return localAddr{}, badLocal(arg, "the path is missing")
		}
		return localAddr{network: "unix", path: path}, nil
	}
	host, port := "", arg
	if strings.Contains(arg, ":") {
		var err error
		if host, port, err = net.SplitHostPort(arg); err != nil {
			return localAddr{}, badLocal(arg, addrProblem(err))
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return localAddr{}, badLocal(arg, "invalid port")
	}
	return localAddr{network: "tcp", host: host, port: port}, nil
}

// parseTarget is parseLocal of an address to dial.
func parseTarget(arg string) (localAddr, error) {
	a, err := parseLocal(arg)
	if err == nil && a.port == "0" {
		err = badLocal(arg, "nobody ever listens at port 0")
	}
	return a, err
}

func badLocal(arg, why string) error {
	return &usageError{fmt.Errorf("address %q: %s: it is :port, on the loopback interface, host:port, or unix:/path, with ports up to 65535", arg, why)}
}

// addrProblem is what is wrong with an address, without the address.
func addrProblem(err error) string {
	if ae, ok := errors.AsType[*net.AddrError](err); ok {
		return ae.Err
	}
	return err.Error()
}

// String is the address as it may be given.
func (a localAddr) String() string {
	if a.network == "unix" {
		return "unix:" + a.path
	}
	return net.JoinHostPort(a.tcpHost(), a.port)
}

func (a localAddr) tcpHost() string {
	if a.host == "" {
		return "127.0.0.1"
	}
	return a.host
}

// dial connects to the address.
func (a localAddr) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if a.network == "unix" {
		return d.DialContext(ctx, "unix", a.path)
	}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.tcpHost(), a.port))
	if a.host == "" && errors.Is(err, syscall.ECONNREFUSED) {
		// Some servers listen on the other loopback address alone.
		if c6, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", a.port)); err6 == nil {
			return c6, nil
		}
	}
	return c, err
}

// listen listens at the address. Its connections are guarded (see bridge.Guard), so that one that nobody takes any more
// is reset.
func (a localAddr) listen(ctx context.Context) (net.Listener, error) {
	l, err := a.listenUnguarded(ctx)
	if err != nil {
		return nil, err
	}
	return guardedListener{l}, nil
}

// A guardedListener guards the connections that it accepts.
type guardedListener struct{ net.Listener }

func (l guardedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		bridge.Guard(c)
	}
	return c, err
}

func (a localAddr) listenUnguarded(ctx context.Context) (net.Listener, error) {
	if a.network == "unix" {
		return listenUnix(ctx, a.path)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(a.tcpHost(), a.port))
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: choose another port, or 0 for one that is free", err)
	}
	return l, err
}

// isOpen tells whether programs of other machines may reach a listener at the address.
func isOpen(addr net.Addr) bool {
	a, ok := addr.(*net.TCPAddr)
	return ok && !a.IP.IsLoopback()
}

// addrText is an address as events have it.
func addrText(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		if u.Name == "" || u.Name == "@" { // as most clients'
			return "unix"
		}
		return "unix:" + u.Name
	}
	return a.String()
}
