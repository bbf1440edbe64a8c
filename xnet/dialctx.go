package xnet

import (
	"context"
	"net"
)

// DialContext returns n's Dial as the function that net.Dialer has and that many packages take.
//
// Its network argument selects nothing, since n is one network: "tcp", "tcp4" and "tcp6", which callers
// say for any stream, none, and n's own name are all the same. Any other, such as "udp", fails with
// net.UnknownNetworkError.
//
// For net/http take DialContext of package xhttp. Options of grpc take n.Dial as it is.
func DialContext(n Networker) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch network {
		case "tcp", "tcp4", "tcp6", "", n.Network():
			return n.Dial(ctx, addr)
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddr{network, addr}, Err: net.UnknownNetworkError(network)}
	}
}
