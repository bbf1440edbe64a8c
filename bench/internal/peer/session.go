package peer

import (
	"net"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// ends are the two ends of a session.
type ends struct {
	dial, accept, acceptBack func() (net.Conn, error)
	close                    func()
}

// session is a Net whose streams share one connection.
type session struct {
	ends
	carrier carrier.Carrier
}

// overPair sets a session up on a connection, which is closed if that fails.
func overPair(c carrier.Carrier, open func(client, server net.Conn) (ends, error)) (Net, error) {
	client, server, err := carrier.Pair(c)
	if err != nil {
		return nil, err
	}
	e, err := open(client, server)
	if err != nil {
		client.Close()
		server.Close()
		return nil, err
	}
	return session{e, c}, nil
}

func (s session) Dial() (net.Conn, error)       { return s.dial() }
func (s session) Accept() (net.Conn, error)     { return s.accept() }
func (s session) AcceptBack() (net.Conn, error) { return s.acceptBack() }

func (s session) Close() {
	s.close()
	s.carrier.Close()
}

// conn makes a net.Conn of what returns a pointer to a stream: a nil pointer would not be a nil net.Conn.
func conn[T net.Conn](c T, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
