package peer

import (
	"net"

	"github.com/xtaci/smux"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

func openSmux(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		cfg := smux.DefaultConfig()
		cfg.Version = 2
		cfg.KeepAliveDisabled = true
		cfg.MaxFrameSize = 32 << 10
		cfg.MaxReceiveBuffer = 16 << 20
		cfg.MaxStreamBuffer = 1 << 20
		cs, err := smux.Client(client, cfg)
		if err != nil {
			return ends{}, err
		}
		ss, err := smux.Server(server, cfg)
		if err != nil {
			cs.Close()
			return ends{}, err
		}
		return ends{
			dial:       func() (net.Conn, error) { return conn(cs.OpenStream()) },
			accept:     func() (net.Conn, error) { return conn(ss.AcceptStream()) },
			acceptBack: func() (net.Conn, error) { return conn(cs.AcceptStream()) },
			close:      func() { cs.Close(); ss.Close() },
		}, nil
	})
}
