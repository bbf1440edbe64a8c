package peer

import (
	"context"
	"io"
	"math"
	"net"

	"github.com/libp2p/go-yamux/v5"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

func openGoYamux(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		cfg := yamux.DefaultConfig()
		cfg.EnableKeepAlive = false
		cfg.LogOutput = io.Discard
		cfg.MaxIncomingStreams = math.MaxUint32
		cs, err := yamux.Client(client, cfg, nil)
		if err != nil {
			return ends{}, err
		}
		ss, err := yamux.Server(server, cfg, nil)
		if err != nil {
			cs.Close()
			return ends{}, err
		}
		ctx := context.Background()
		return ends{
			dial:       func() (net.Conn, error) { return cs.Open(ctx) },
			accept:     ss.Accept,
			acceptBack: cs.Accept,
			close:      func() { cs.Close(); ss.Close() },
		}, nil
	})
}
