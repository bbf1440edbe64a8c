package peer

import (
	"context"
	"net"

	"github.com/virtnet/virtnet/bench/internal/carrier"
	"github.com/virtnet/virtnet/mux"
)

func openMux(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		cs, err := mux.Client(client, nil)
		if err != nil {
			return ends{}, err
		}
		ss, err := mux.Server(server, nil)
		if err != nil {
			cs.Close()
			return ends{}, err
		}
		return sessionEnds(cs, ss), nil
	})
}

func sessionEnds(cs, ss *mux.Session) ends {
	ctx := context.Background()
	return ends{
		dial:       func() (net.Conn, error) { return conn(cs.Open(ctx)) },
		accept:     func() (net.Conn, error) { return conn(ss.Accept(ctx)) },
		acceptBack: func() (net.Conn, error) { return conn(cs.Accept(ctx)) },
		close:      func() { cs.Close(); ss.Close() },
	}
}
