package mux

import (
	"context"
	"net"
)

// Listener returns the session as a net.Listener, for http.Serve and the like: its Accept is the session's, its Close
// closes the session and with it all streams, at once. For a server that is to finish what it has begun, as by http.Server's
// Shutdown, make one whose Close only ends its Accept: the example named Shutdown does that.
func (s *Session) Listener() net.Listener { return listener{s} }

type listener struct{ s *Session }

func (l listener) Accept() (net.Conn, error) {
	st, err := l.s.Accept(context.Background())
	if err != nil {
		return nil, err // not st: a nil *Stream is no nil net.Conn
	}
	return st, nil
}

func (l listener) Close() error   { return l.s.Close() }
func (l listener) Addr() net.Addr { return l.s.LocalAddr() }
