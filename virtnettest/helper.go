package virtnettest

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// NewHosts makes hosts of these names on a sub-network and closes them when the test ends. The test fails at
// once if one cannot be made.
func NewHosts(t testing.TB, sub *virtnet.SubNetwork, names ...string) []*virtnet.Host {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var hosts []*virtnet.Host
	for _, name := range names {
		h, err := sub.NewHost(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.Close(); err != nil {
				t.Errorf("closing host %s: %v", name, err)
			}
		})
		hosts = append(hosts, h)
	}
	return hosts
}

// Connect connects src to dst and returns both ends, which it closes when the test ends. It listens at the
// lowest free port of dst for as long as that takes. The test fails at once if they do not connect within ten
// seconds.
func Connect(t testing.TB, src, dst *virtnet.Host) (dialled, accepted net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := dst.Listen(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, accepted, err = connect(ctx, src, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dialled.Close()
		_ = accepted.Close()
	})
	return dialled, accepted
}

// connect dials l from src, and accepts.
func connect(ctx context.Context, src *virtnet.Host, l xnet.Listener) (dialled, accepted net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dial := startDial(ctx, src, l.Addr().String())
	accepted, aerr := l.Accept(ctx)
	if aerr != nil {
		cancel()
	}
	<-dial.done // ctx bounds it
	dialled = dial.val
	if aerr == nil && dial.err == nil {
		return dialled, accepted, nil
	}
	for _, c := range []net.Conn{dialled, accepted} {
		if c != nil {
			_ = c.Close()
		}
	}
	return nil, nil, fmt.Errorf("connecting %s to %s: dial error %v, accept error %v", src.Name(), l.Addr(), dial.err, aerr)
}
