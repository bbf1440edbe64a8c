package xhttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// serve serves on n at addr, and returns how Serve ended.
func serve(t *testing.T, ctx context.Context, n xnet.Networker, addr string, srv *http.Server) <-chan error {
	t.Helper()
	l, err := n.Listen(bounded(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, srv, l) }()
	return result
}

func next(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(limit):
		t.Fatal("Serve does not return")
		panic("unreachable")
	}
}

func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestClient(t *testing.T) {
	n := newFakeNet(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host)
	})}
	result := serve(t, t.Context(), n, "α:80", srv)
	client := Client(n)
	defer client.CloseIdleConnections()

	if got, err := get(t, client, "http://α/"); got != "xn--mxa" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := get(t, client, "http://β:80/")
	if noHost := (errNoHost{}); !errors.Is(err, noHost) {
		t.Errorf("got error %v, want %v", err, noHost)
	}
	if want := `Get "http://%CE%B2:80/": dial fake: β:80: no such host`; err == nil || err.Error() != want {
		t.Errorf("got error %v\nwant %v", err, want)
	}

	if err := srv.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	if err := next(t, result); err != http.ErrServerClosed {
		t.Errorf("Serve: %v, want ErrServerClosed", err)
	}
}

// TestServeContext checks that Serve returns, however the context ends, and leaves requests alone.
func TestServeContext(t *testing.T) {
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		n := newFakeNet(t)
		ctx, cancel := context.WithCancel(t.Context())
		if want == context.DeadlineExceeded {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		defer cancel()
		began, finish := make(chan struct{}), make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(began)
			<-finish
			io.WriteString(w, "done")
		})}
		result := serve(t, ctx, n, "α:80", srv)
		client := Client(n)
		defer client.CloseIdleConnections()
		got := make(chan error, 1)
		if want == context.Canceled {
			go func() {
				body, err := get(t, client, "http://α/")
				if err == nil && body != "done" {
					err = errors.New("got " + body)
				}
				got <- err
			}()
			<-began
			cancel()
		}
		if err := next(t, result); !errors.Is(err, want) {
			t.Errorf("Serve: %v, want %v", err, want)
		}
		close(finish)
		if want == context.Canceled {
			if err := next(t, got); err != nil {
				t.Errorf("the request under way: %v", err)
			}
		}
	}
}
