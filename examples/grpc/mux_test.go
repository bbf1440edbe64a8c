package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/virtnet/virtnet/mux"
)

// serveOn serves gRPC on the streams that the other end of a session opens, until that ends.
func serveOn(session *mux.Session, srv *grpc.Server) error { return srv.Serve(session.Listener()) }

// clientOf is a client of what is served at the other end of a session.
func clientOf(session *mux.Session) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///the-other-end",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return session.Open(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// echo is a service whose only call sends back every message of a stream: as unary calls and those of health, but both ways.
var echo = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "Both", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			m := new(healthpb.HealthCheckRequest)
			if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
	}}},
}

// TestMux makes calls of all kinds over one connection, both of whose ends serve, and call each other.
func TestMux(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, err := mux.Client(dialed, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := mux.Server(accepted, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, end := range []struct {
		name           string
		server, client *mux.Session
	}{
		{"who was dialled serves", b, a},
		{"who has dialled serves", a, b},
	} {
		t.Run(end.name, func(t *testing.T) {
			statuses := health.NewServer()
			srv := grpc.NewServer()
			healthpb.RegisterHealthServer(srv, statuses)
			srv.RegisterService(&echo, nil)
			go func() { _ = serveOn(end.server, srv) }() // until the sessions are closed
			conn, err := clientOf(end.client)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			unary(ctx, t, conn)
			serverStream(ctx, t, conn, statuses)
			bothWays(ctx, t, conn)
		})
	}
}

func unary(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest))
	if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("unary: got %v, %v; want SERVING", resp.GetStatus(), err)
	}
}

func serverStream(ctx context.Context, t *testing.T, conn *grpc.ClientConn, statuses *health.Server) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, new(healthpb.HealthCheckRequest))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING,
		healthpb.HealthCheckResponse_NOT_SERVING,
		healthpb.HealthCheckResponse_SERVING,
	} {
		if i > 0 {
			statuses.SetServingStatus("", want)
		}
		if resp, err := watch.Recv(); err != nil || resp.GetStatus() != want {
			t.Errorf("stream: message %d is %v, %v; want %v", i, resp.GetStatus(), err, want)
		}
	}
}

func bothWays(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	s, err := conn.NewStream(ctx, &echo.Streams[0], "/test.Echo/Both")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := s.SendMsg(&healthpb.HealthCheckRequest{Service: fmt.Sprint(i)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	for i := range n {
		m := new(healthpb.HealthCheckRequest)
		if err := s.RecvMsg(m); err != nil || m.GetService() != fmt.Sprint(i) {
			t.Fatalf("both ways: message %d is %q, %v", i, m.GetService(), err)
		}
	}
	if err := s.RecvMsg(new(healthpb.HealthCheckRequest)); err != io.EOF {
		t.Errorf("both ways: got %v at the end, want EOF", err)
	}
	if err := <-sent; err != nil {
		t.Errorf("both ways: %v", err)
	}
}
