// Grpc runs a gRPC server and a client of it on any network. It is a program written once, and given its network.
// In the directory examples:
//
//	go run ./grpc -network tcp4
//	go run ./grpc -network pipe
//	go run ./grpc -network lonet
//
// The service is grpc's own health service, which load balancers and Kubernetes ask.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/virtnet/virtnet/xnet"
)

func main() {
	var names []string
	for _, n := range networks {
		names = append(names, n.name)
	}
	name := flag.String("network", names[0], "network to run on: "+strings.Join(names, ", "))
	flag.Parse()
	i := slices.Index(names, *name)
	if i < 0 {
		log.Fatalf("unknown network %q: it is one of %s", *name, strings.Join(names, ", "))
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := run(ctx, networks[i]); err != nil {
		log.Fatal(err)
	}
}

// run serves on one access-point of a network and asks from another.
func run(ctx context.Context, n network) (err error) {
	server, client, closeAll, err := n.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	l, err := server.Listen(ctx, n.laddr)
	if err != nil {
		return err
	}
	srv := newServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(xnet.BindCtxL(l, ctx)) }()

	status, err := check(ctx, client, l.Addr().String())
	srv.Stop() // closes l
	if serr := <-served; err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s at %s says %v\n", client.Network(), server.Name(), l.Addr(), status)
	return nil
}

// newServer returns a server whose only service is the health of it.
func newServer() *grpc.Server {
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	return srv
}

// check asks the server at addr on n how it is.
func check(ctx context.Context, n xnet.Networker, addr string) (healthpb.HealthCheckResponse_ServingStatus, error) {
	// passthrough: the name is n's to resolve, not DNS's.
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithContextDialer(n.Dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest))
	return resp.GetStatus(), err
}
