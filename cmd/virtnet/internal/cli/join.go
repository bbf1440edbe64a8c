package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/hostname"
	"github.com/virtnet/virtnet/lonet"
)

// What commands that live on a network have in common: arguments, and a host of their own.

const networkHelp = `NET is the name that programs join, such as tea, or the full one that errors show, lonettea.`

// exactly is what a command says to other arguments than these.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return &usageError{fmt.Errorf("%s is missing", names[len(args)])}
		case len(args) > len(names):
			return &usageError{fmt.Errorf("unexpected argument %q", args[len(names)])}
		}
		return nil
	}
}

// checkName is a usage error if name is no name for what, "host" or "network".
func checkName(what, name string) error {
	if err := hostname.Check(name); err != nil {
		return &usageError{fmt.Errorf("%s: %w", what, err)}
	}
	return nil
}

// parseVirtual parses "host:port", an address on the virtual network. The error is a usage error.
func parseVirtual(addr string) (*virtnet.Addr, error) {
	a, err := virtnet.ParseAddr("", addr)
	if err != nil {
		return nil, &usageError{fmt.Errorf("address %q: %s: it is a host and a port from 1 to 2147483647, such as α:80", addr, addrProblem(err))}
	}
	return a, checkName(fmt.Sprintf("address %q", addr), a.Host)
}

// parseRemote is parseVirtual of an address to dial.
func parseRemote(addr string) (*virtnet.Addr, error) {
	a, err := parseVirtual(addr)
	if err == nil && a.Port == 0 {
		err = &usageError{fmt.Errorf("address %q: nobody ever listens at port 0", addr)}
	}
	return a, err
}

// networkName returns the name by which to join the network that a user calls name: that name, unless there is no such
// network but one of which it is the full name.
func networkName(ctx context.Context, name string) (string, error) {
	if err := checkName("network", name); err != nil {
		return "", err
	}
	if strings.HasPrefix(name, "lonet") {
		if n, err := listNetwork(ctx, name); err == nil {
			return n.Name, nil
		}
	}
	return name, nil
}

// noNetwork says that there is no network of that name.
func noNetwork(name string) error {
	return fmt.Errorf("there is no network %q; \"virtnet lo ls\" lists those that there are", name)
}

// live joins a network as a host of that name, and leaves it when do returns. network is as a user calls it; do gets the
// name by which it was joined.
func live(ctx context.Context, network, name string, do func(host *virtnet.Host, network string) error) error {
	network, err := networkName(ctx, network)
	if err != nil {
		return err
	}
	if err := checkName("host", name); err != nil {
		return err
	}
	n, err := lonet.Join(ctx, network)
	if err != nil {
		return err
	}
	defer n.Close() // an error would be about a network that is left anyway
	host, err := n.NewHost(ctx, name)
	switch {
	case errors.Is(err, virtnet.ErrHostDup):
		return &takenError{name, network}
	case err != nil:
		return err
	}
	return do(host, network)
}

// A takenError says that there is a host of that name already.
type takenError struct{ host, network string }

func (e *takenError) Error() string {
	return fmt.Sprintf("host %s is already on network %s: choose another name, or end the program that has it (\"virtnet lo ls %s\" shows its address)",
		e.host, e.network, e.network)
}

func (e *takenError) Unwrap() error { return virtnet.ErrHostDup }

// dialHint adds to the error of a dial on the network what a user can do about it.
func dialHint(err error, network string) error {
	if errors.Is(err, virtnet.ErrNoHost) {
		return fmt.Errorf("%w; \"virtnet lo ls %s\" lists the hosts that there are", err, network)
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok && oe.Err == virtnet.ErrConnRefused {
		return fmt.Errorf("%w: nobody listens at that port", err)
	}
	return err
}

// writeErrors makes an output that nobody reads any more a failed Write until restore is called, rather than the end of
// this process, which would leave its hosts behind.
func writeErrors() (restore func()) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGPIPE)
	return func() { signal.Stop(ignored) }
}
