package xhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// TestVirtnet has a web server on a host that is really called α.
func TestVirtnet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n := pipenet.New("web")
	defer pipenet.AsVirtNet(n).Close()
	l, err := n.Host("α").Listen(ctx, ":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.RemoteAddr)
	})}
	served := make(chan error, 1)
	go func() { served <- xhttp.Serve(ctx, srv, l) }()

	client := xhttp.Client(n.Host("β"))
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://α/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != "hello β:1" || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, "hello β:1")
	}

	if _, err = client.Get("http://γ/"); !errors.Is(err, virtnet.ErrNoHost) {
		t.Errorf("got error %v, want ErrNoHost", err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	select {
	case err := <-served:
		if err != http.ErrServerClosed {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
	case <-ctx.Done():
		t.Error("Serve does not return")
	}
}
