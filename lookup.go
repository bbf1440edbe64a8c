package virtnet

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/virtnet/virtnet/internal/hostname"
	"github.com/virtnet/virtnet/internal/punycode"
)

// LookupHost returns the address of the host with that name, as text: see [HostIP]. It asks the network's registry,
// and nothing else, whether there is such a host. It has the signature of [net.Resolver.LookupHost], and its
// rules are those of [Host.LookupNetIP] for network "ip".
func (h *Host) LookupHost(ctx context.Context, name string) ([]string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return []string{name}, nil
	}
	ips, err := h.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	return []string{ips[0].String()}, nil
}

// LookupNetIP returns the address of the host with that name: see [HostIP]. It asks the network's registry, and
// nothing else, whether there is such a host. It has the signature of [net.Resolver.LookupNetIP]: the network is
// "ip", "ip6", or "ip4", of which no host has an address.
//
// An IP address is returned as it is. Names are taken literally: upper and lower case differ, a dot at the end counts,
// and an empty name is not this host's. A name in the form that DNS has for those that are not ASCII ("xn--mxa" for
// "α") is also found decoded, if no host has it literally.
//
// The error is a *net.DNSError. IsNotFound says that there is no such host, or that it has no such address;
// IsTimeout, that a deadline ended. errors.Is finds the cause: ErrNoHost, ErrHostDown, ErrNetDown, ErrRegistryDown,
// the error of ctx, or one of the registry. For an unknown network it is a net.UnknownNetworkError, for an
// IP address that is not of the network a *net.AddrError.
func (h *Host) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	switch network {
	case "ip", "ip4", "ip6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if network != "ip" && ip.Unmap().Is4() != (network == "ip4") {
			return nil, &net.AddrError{Err: "no suitable address", Addr: name}
		}
		return []netip.Addr{ip}, nil
	}
	literal, err := h.find(ctx, name)
	if err == nil && network == "ip4" {
		err = ErrNoHost
	}
	if err != nil {
		return nil, h.dnsError(name, err)
	}
	return []netip.Addr{hostIP(literal)}, nil
}

// LookupAddr returns the name of the host with that address: see [HostIP]. It asks the network's registry whether
// there is such a host. It has the signature of [net.Resolver.LookupAddr], but the name is as [Host.Dial] takes it,
// without the dot that DNS puts at the end.
//
// The error is a *net.DNSError, as of [Host.LookupNetIP].
func (h *Host) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "unrecognized address", Name: addr}
	}
	name := h.subnet.nameOf(ip)
	if err := h.query(ctx, name); err != nil {
		return nil, h.dnsError(addr, err)
	}
	return []string{name}, nil
}

// find returns the name, literal or decoded, that a host has.
func (h *Host) find(ctx context.Context, name string) (literal string, _ error) {
	err := h.query(ctx, name)
	if errors.Is(err, ErrNoHost) {
		if decoded := punycode.ToUnicode(name); decoded != name {
			name = decoded
			err = h.query(ctx, name)
		}
	}
	if err != nil {
		return "", err
	}
	h.subnet.longNames.use(name)
	return name, nil
}

// query asks the registry for a host.
func (h *Host) query(ctx context.Context, name string) error {
	if err := h.downErr(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if hostname.Check(name) != nil {
		return ErrNoHost
	}
	call := &callCtx{Context: ctx, life: h.life}
	defer call.end()
	_, err := h.subnet.registry.Query(call, name)
	if down := h.downErr(); down != nil {
		return down
	}
	return callError(ctx, err)
}

// dnsError is the error of a lookup of name. Its server is the network.
func (h *Host) dnsError(name string, err error) error {
	e := &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, Server: h.subnet.network}
	if errors.Is(err, ErrNoHost) {
		e.Err = ErrNoHost.Error()
		e.IsNotFound = true
	}
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		e.IsTimeout, e.IsTemporary = true, true
	}
	return e
}
