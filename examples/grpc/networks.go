package main

import (
	"context"
	"errors"
	"os"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// A network is one the program can run on.
type network struct {
	name  string
	laddr string // where the server listens

	// open returns two access-points, and what closes them. ctx bounds this call only.
	open func(ctx context.Context) (server, client xnet.Networker, closeAll func() error, err error)
}

var networks = []network{
	{"tcp4", "127.0.0.1:0", openPlain},
	{"pipe", ":0", openPipe},
	{"lonet", ":0", openLonet},
}

// openPlain is the operating system's network: one access-point will do.
func openPlain(context.Context) (server, client xnet.Networker, closeAll func() error, err error) {
	n := xnet.NetPlain("tcp4")
	return n, n, n.Close, nil
}

// openPipe is a network in this process.
func openPipe(ctx context.Context) (server, client xnet.Networker, closeAll func() error, err error) {
	return twoHosts(ctx, pipenet.AsVirtNet(pipenet.New("grpc")))
}

// openLonet is a network of this machine's processes, of which this one is the only one: its directory is a temporary
// one that others do not know of, so that it can be removed in the end.
func openLonet(ctx context.Context) (server, client xnet.Networker, closeAll func() error, err error) {
	dir, err := os.MkdirTemp("", "virtnet-grpc-")
	if err != nil {
		return nil, nil, nil, err
	}
	n, err := lonet.Config{TempDir: dir}.Join(ctx, "grpc")
	if err == nil {
		server, client, _, err = twoHosts(ctx, n)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	leave := func() error { return errors.Join(n.Close(), os.RemoveAll(dir)) }
	return server, client, leave, nil
}

// twoHosts returns hosts α and β of n, which it closes if it fails.
func twoHosts(ctx context.Context, n *virtnet.SubNetwork) (server, client xnet.Networker, closeAll func() error, err error) {
	server, err = n.NewHost(ctx, "α")
	if err != nil {
		n.Close()
		return nil, nil, nil, err
	}
	client, err = n.NewHost(ctx, "β")
	if err != nil {
		n.Close()
		return nil, nil, nil, err
	}
	return server, client, n.Close, nil
}
