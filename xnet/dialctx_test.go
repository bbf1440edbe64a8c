package xnet

import (
	"net"
	"testing"
)

func TestDialContext(t *testing.T) {
	for _, n := range []Networker{NetPlain("tcp4"), &oneHost{Networker: NetPlain("tcp")}} {
		defer n.Close()
		l := listen(t, n, "127.0.0.1:0")
		addr := l.Addr().String()
		if o, ok := n.(*oneHost); ok {
			o.addr, addr = addr, "α:80"
		}
		dial := DialContext(n)
		for _, network := range []string{"tcp", "tcp4", "tcp6", "", n.Network()} {
			conn, err := dial(bounded(t), network, addr)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			acceptOne(t, l)
		}
		for _, network := range []string{"udp", "unix", "tcp5"} {
			_, err := dial(bounded(t), network, addr)
			wantOpError(t, err, "dial", network, net.UnknownNetworkError(network))
		}
	}
}
