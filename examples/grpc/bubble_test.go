package main

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// gRPC in virtual time, with latency and partitions. What a test minds:
//
//   - The target is "passthrough:///" and the address: the default resolver, dns, would ask the system for host α, and outside
//     of the bubble. WithContextDialer takes the Dial of a host as it is.
//   - Contexts are made in the bubble, as the Context of the bubble's own *testing.T is: not that of the test around it.
//   - Every goroutine ends before the bubble can: Close of each ClientConn, then GracefulStop, which waits for calls
//     that are running. If a partition keeps those, heal it before, or call Stop.
//   - A ClientConn that has failed waits before it dials again, a second at first and then longer, up to two minutes. That is
//     virtual time, but a call that does not WaitForReady fails meanwhile.
//   - The authority of a call is the target's address. With TLS, a host name that is not ASCII needs the form that certificates
//     have: grpc.WithAuthority("xn--mxa") for α.

const (
	ms  = time.Millisecond
	rtt = 40 * ms
)

// cluster is a health server on α and a client of it on β, 20 ms apart.
type cluster struct {
	*testing.T
	em     *netem.Net
	health *health.Server
	client healthpb.HealthClient
}

// inBubble runs f in a bubble, in the end of which no goroutine of gRPC's is left: a bubble fails otherwise.
func inBubble(t *testing.T, f func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, em: netem.New(1), health: health.NewServer()}
		if err := c.em.SetAll(netem.Rules{Latency: netem.Constant(20 * ms)}); err != nil {
			t.Fatal(err)
		}
		n := pipenet.Config{Emulator: c.em, Buffer: -1}.New("grpc")
		defer n.Close()

		l, err := n.Host("α").Listen(t.Context(), ":1")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second}))
		healthpb.RegisterHealthServer(server, c.health)
		served := make(chan error, 1)
		go func() { served <- server.Serve(xnet.BindCtxL(l, t.Context())) }()

		conn, err := grpc.NewClient("passthrough:///α:1",
			grpc.WithContextDialer(n.Host("β").Dial),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Minute}),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		c.client = healthpb.NewHealthClient(conn)
		f(c)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.GracefulStop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// check makes a call, which has to take that long and to end with that code.
func (c *cluster) check(what string, timeout, took time.Duration, want codes.Code, opts ...grpc.CallOption) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), timeout)
	defer cancel()
	began := time.Now()
	_, err := c.client.Check(ctx, new(healthpb.HealthCheckRequest), opts...)
	if got := status.Code(err); got != want || time.Since(began) != took {
		c.Errorf("%s: %v after %v, want %v after %v", what, err, time.Since(began), want, took)
	}
}

// next receives from a stream, and wants that status after that time.
func (c *cluster) next(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus,
	took time.Duration) {
	c.Helper()
	began := time.Now()
	m, err := s.Recv()
	if err != nil || m.GetStatus() != want || time.Since(began) != took {
		c.Errorf("got %v, %v after %v, want %v after %v", m.GetStatus(), err, time.Since(began), want, took)
	}
}

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
)

// Calls take their round trips, and a deadline ends those that a partition keeps.
func TestBubbleUnary(t *testing.T) {
	inBubble(t, func(c *cluster) {
		c.check("the first call, with its dial", time.Minute, 2*rtt, codes.OK)
		c.check("a call", time.Minute, rtt, codes.OK)
		p := c.em.Isolate("α")
		c.check("a call in a partition", 30*time.Second, 30*time.Second, codes.DeadlineExceeded)
		p.Heal()
		time.Sleep(time.Second)
		c.check("a call on the same connection", time.Minute, rtt, codes.OK)
		time.Sleep(time.Hour)
		c.check("a call after an hour in which gRPC has gone idle", time.Minute, 2*rtt, codes.OK)
	})
}

// A stream outlives a partition that is shorter than the time-out of keep-alive, and loses nothing.
func TestBubbleStream(t *testing.T) {
	inBubble(t, func(c *cluster) {
		ctx, cancel := context.WithCancel(c.Context())
		defer cancel()
		s, err := c.client.Watch(ctx, new(healthpb.HealthCheckRequest))
		if err != nil {
			t.Fatal(err)
		}
		c.next(s, serving, rtt)
		c.health.SetServingStatus("", notServing)
		c.next(s, notServing, 20*ms)

		p := c.em.Isolate("β")
		c.health.SetServingStatus("", serving)
		time.AfterFunc(50*time.Second, p.Heal)
		c.next(s, serving, 50*time.Second)
		cancel()
		if _, err := s.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("Recv of a stream that is cancelled: %v", err)
		}
	})
}

// Keep-alive ends a stream in a partition that is longer; after it, a call that waits gets through.
func TestBubbleKeepAlive(t *testing.T) {
	inBubble(t, func(c *cluster) {
		s, err := c.client.Watch(c.Context(), new(healthpb.HealthCheckRequest))
		if err != nil {
			t.Fatal(err)
		}
		c.next(s, serving, rtt)
		began := time.Now()
		p := c.em.Isolate("α")
		_, err = s.Recv()
		if took := time.Since(began); status.Code(err) != codes.Unavailable || took < time.Minute || took > 71*time.Second {
			t.Errorf("a stream in a partition: %v after %v, want Unavailable after a minute of silence", err, took)
		}
		time.AfterFunc(time.Hour, p.Heal)
		ctx, cancel := context.WithTimeout(c.Context(), math.MaxInt64)
		defer cancel()
		began = time.Now()
		if _, err := c.client.Check(ctx, new(healthpb.HealthCheckRequest), grpc.WaitForReady(true)); err != nil {
			t.Errorf("a call that waits: %v", err)
		}
		if took := time.Since(began); took < time.Hour || took > time.Hour+3*time.Minute {
			t.Errorf("a call that waits for the end of a partition of an hour takes %v", took)
		}
	})
}
