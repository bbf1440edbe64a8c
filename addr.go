package virtnet

import (
	"net"
	"strconv"
)

// maxPort is the highest port of a host.
const maxPort = 1<<31 - 1

// Addr is an address on a virtual network. It is a net.Addr.
type Addr struct {
	Net  string // full name of the network, e.g. "pipeα"
	Host string // name of the host
	Port int    // port on the host; 0 where none is meant
}

var _ net.Addr = (*Addr)(nil)

// Network returns the full name of the network.
func (a *Addr) Network() string { return a.Net }

// String returns "host:port", with brackets where net.JoinHostPort puts them.
func (a *Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// ParseAddr parses "host:port" as an address on network. The host may be empty and is not checked. The port
// is a decimal number from 0 to 1<<31-1.
//
// The error is a *net.AddrError: "invalid port", or what net.SplitHostPort says.
func ParseAddr(network, addr string) (*Addr, error) {
	a, err := parseAddr(network, addr)
	if err != nil {
		return nil, err
	}
	return &a, nil
}

func parseAddr(network, addr string) (Addr, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return Addr{}, err
	}
	// ParseUint takes no sign, which no address has. It takes leading zeros, as package net does.
	port, err := strconv.ParseUint(portText, 10, 31)
	if err != nil {
		return Addr{}, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	return Addr{network, host, int(port)}, nil
}
