package astranet

import (
	"context"
	"net"
	"net/netip"
)

// tcpCarrier is TCP. A name is resolved anew, time and again, and means all its addresses.
type tcpCarrier struct {
	node    *node
	network string // tcp, tcp4 or tcp6
}

func (k tcpCarrier) check(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	_, err = net.LookupPort(k.network, port)
	return err
}

func (k tcpCarrier) resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ips, err := k.node.lookup(ctx, "ip"+k.network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	addrs := make([]string, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, net.JoinHostPort(ip.String(), port))
	}
	return addrs, nil
}

// lookup returns the addresses of a host that the node may be linked with. An empty host is this machine.
func (n *node) lookup(ctx context.Context, kind, host string) ([]netip.Addr, error) {
	if host == "" {
		host = "localhost"
	}
	ips, err := n.set.resolver().LookupNetIP(ctx, kind, host)
	if err != nil {
		return nil, err
	}
	for i, ip := range ips {
		ips[i] = ip.Unmap()
		if !ip.Unmap().IsLoopback() && !n.set.secured() && !n.set.Insecure {
			return nil, insecure("join " + ip.Unmap().String())
		}
	}
	return ips, nil
}

// dialer dials. What is dead is known by the link's own keep-alives.
func (n *node) dialer() *net.Dialer {
	return &net.Dialer{KeepAlive: -1, Resolver: n.set.Resolver}
}

func (k tcpCarrier) dial(ctx context.Context, address string) (net.Conn, error) {
	return k.node.dialer().DialContext(ctx, k.network, address)
}

func (k tcpCarrier) listen(ctx context.Context, address string) (source, error) {
	l, err := k.node.listenTCP(ctx, k.network, address)
	if err != nil {
		return nil, err
	}
	return &streamSource{l, k.node}, nil
}

func (n *node) listenTCP(ctx context.Context, network, address string) (net.Listener, error) {
	bound, err := n.listenAddress(network, address)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(ctx, network, bound)
	if err == nil && bound != address {
		n.log.Info("links are taken from this machine only: the node has no Credentials and is not Insecure", "at", l.Addr())
	}
	return l, err
}

// listenAddress returns where to listen if the program says so.
func (n *node) listenAddress(network, address string) (string, error) {
	if n.set.secured() || n.set.Insecure {
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified():
		if network == "tcp6" || network == "tcp" && host == "::" {
			return net.JoinHostPort("::1", port), nil
		}
		return net.JoinHostPort("127.0.0.1", port), nil
	case err == nil && ip.Unmap().IsLoopback() || host == "localhost":
		return address, nil
	}
	return "", insecure("take links at " + address)
}
