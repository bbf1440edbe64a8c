package xnet

import (
	"errors"
	"net"

	"github.com/virtnet/virtnet/internal/punycode"
)

// decodeHost returns addr with the encoded labels of its host ("xn--mxa") decoded ("α").
func decodeHost(addr string) string {
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
