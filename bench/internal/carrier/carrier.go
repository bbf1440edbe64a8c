// Package carrier makes the connections below streams: plain TCP, TLS, and TCP over an emulated long path. All are on
// the loopback interface, and both ends are in this process.
package carrier

import (
	"fmt"
	"net"
)

// A Carrier makes connections between two ends.
type Carrier interface {
	Dial() (net.Conn, error)
	Accept() (net.Conn, error)
	Close() error // fails Accept; what was dialled and accepted stays
}

// Open returns the carrier of a name: "tcp", "tls", or "path", which is TCP over a [LongPath].
func Open(name string) (Carrier, error) {
	t, err := listenTCP()
	if err != nil {
		return nil, err
	}
	switch name {
	case "tcp":
		return t, nil
	case "tls":
		return newTLS(t)
	case "path":
		return newPath(t, LongPath)
	}
	t.Close()
	return nil, fmt.Errorf("carrier %q is not known: tcp, tls and path are", name)
}

// Pair dials a connection and returns both ends, TLS's handshake done.
func Pair(c Carrier) (client, server net.Conn, err error) {
	if client, err = c.Dial(); err != nil {
		return nil, nil, err
	}
	if server, err = c.Accept(); err != nil {
		client.Close()
		return nil, nil, err
	}
	if err = handshake(client, server); err != nil {
		client.Close()
		server.Close()
		return nil, nil, err
	}
	return client, server, nil
}

// tcp is connections with package net's settings: TCP_NODELAY is on.
type tcp struct{ net.Listener }

func listenTCP() (tcp, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	return tcp{l}, err
}

func (t tcp) Dial() (net.Conn, error) { return net.Dial("tcp", t.Addr().String()) }
