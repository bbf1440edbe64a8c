package astranet

import (
	"context"
	"net"
)

// unixCarrier is unix sockets. Who may dial one is for the file's permissions to say.
type unixCarrier struct{ node *node }

func (unixCarrier) check(string) error { return nil }

func (unixCarrier) resolve(_ context.Context, address string) ([]string, error) {
	return []string{address}, nil
}

func (k unixCarrier) dial(ctx context.Context, address string) (net.Conn, error) {
	return k.node.dialer().DialContext(ctx, "unix", address)
}

func (k unixCarrier) listen(ctx context.Context, address string) (source, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", address)
	if err != nil {
		return nil, err
	}
	return &streamSource{l, k.node}, nil
}
