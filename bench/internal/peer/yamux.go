package peer

import (
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

func openYamux(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		cfg := yamux.DefaultConfig()
		cfg.EnableKeepAlive = false
		cfg.LogOutput = io.Discard
		cs, err := yamux.Client(client, cfg)
		if err != nil {
			return ends{}, err
		}
		ss, err := yamux.Server(server, cfg)
		if err != nil {
			cs.Close()
			return ends{}, err
		}
		return ends{
			dial:       cs.Open,
			accept:     ss.Accept,
			acceptBack: cs.Accept,
			close:      func() { cs.Close(); ss.Close() },
		}, nil
	})
}
