package xnet

import (
	"context"
	"net"
)

// DialContext returns n's Dial as the function that net.Dialer has and that many packages take: the DialContext of
// an http.Transport, database drivers, proxies. (Options of grpc take n.Dial as it is.)
//
// Its network argument selects nothing, since n is one network: "tcp", "tcp4" and "tcp6", which callers
// say for any stream, none, and n's own name are all the same. Any other, such as "udp", fails with
// net.UnknownNetworkError.
//
// net/http and curl put a host name that is not ASCII into the form DNS has for it before they dial: http://α:80/
// dials "xn--mxa:80". So a name with an encoded label is dialled as it is, and if there is no such host, decoded. A
// host whose literal name is the encoded form thus wins. When there is neither, the error is about the decoded
// name, the one that a user wrote. What else those programs do to names is not undone: they are in lower case and
// in Unicode's normal form C.
func DialContext(n Networker) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch network {
		case "tcp", "tcp4", "tcp6", "", n.Network():
		default:
			return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddr{network, addr}, Err: net.UnknownNetworkError(network)}
		}
		conn, err := n.Dial(ctx, addr)
		if err == nil || !noSuchHost(err) {
			return conn, err
		}
		if decoded := decodeHost(addr); decoded != addr {
			return n.Dial(ctx, decoded)
		}
		return nil, err
	}
}
