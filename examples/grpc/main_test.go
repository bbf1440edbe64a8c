package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/virtnet/virtnet/xnet"
)

// forAll runs f on each network.
func forAll(t *testing.T, f func(t *testing.T, ctx context.Context, n network)) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir) // Windows
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			f(t, ctx, n)
		})
	}
}

// TestRun checks that the program works, and leaves nothing behind.
func TestRun(t *testing.T) {
	forAll(t, func(t *testing.T, ctx context.Context, n network) {
		if err := run(ctx, n); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

// TestServeEnds checks that a context ends the server, and what a client is told when nobody serves.
func TestServeEnds(t *testing.T) {
	forAll(t, func(t *testing.T, ctx context.Context, n network) {
		server, client, closeAll, err := n.open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll()
		l, err := server.Listen(ctx, n.laddr)
		if err != nil {
			t.Fatal(err)
		}
		srv := newServer()
		sctx, stop := context.WithCancel(ctx)
		defer stop()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(xnet.BindCtxL(l, sctx)) }()
		if got, err := check(ctx, client, l.Addr().String()); got != healthpb.HealthCheckResponse_SERVING || err != nil {
			t.Errorf("check: %v, %v", got, err)
		}
		stop()
		select {
		case err := <-served:
			if err == nil {
				t.Error("Serve returned nil, want the context's error")
			}
		case <-ctx.Done():
			t.Fatal("Serve does not return")
		}
		srv.Stop()
		if got, err := check(ctx, client, l.Addr().String()); status.Code(err) != codes.Unavailable {
			t.Errorf("check of a stopped server: %v, %v, want code Unavailable", got, err)
		}
	})
}
