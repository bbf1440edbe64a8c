package xhttp

import (
	"context"
	"errors"
	"net"

	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/internal/punycode"
)

// DialContext returns n's Dial as the DialContext of an http.Transport or of a proxy. It is [xnet.DialContext], except
// for host names that have an encoded label ("xn--mxa"): they are dialled as they are, and if there is no such
// host, decoded ("α"). A host whose literal name is the encoded form thus wins.
//
// When there is neither, the error is about the decoded name, the one that a user wrote.
func DialContext(n xnet.Networker) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := xnet.DialContext(n)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil || !noSuchHost(err) {
			return conn, err
		}
		if decoded := decode(addr); decoded != addr {
			return dial(ctx, network, decoded)
		}
		return nil, err
	}
}

// decode returns addr with its host's encoded labels decoded.
func decode(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	decoded := punycode.ToUnicode(host)
	if decoded == host {
		return addr
	}
	return net.JoinHostPort(decoded, port)
}

// noSuchHost tells whether a dial failed because there is no host of that name.
func noSuchHost(err error) bool {
	if v, ok := errors.AsType[interface {
		error
		NoSuchHost() bool
	}](err); ok {
		return v.NoSuchHost()
	}
	d, ok := errors.AsType[*net.DNSError](err)
	return ok && d.IsNotFound
}
