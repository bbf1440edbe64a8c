package astranet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A dial to the node itself that opens a session as the last one has just ended has one that Close finds.
func TestCloseOwnSession(t *testing.T) {
	n := newNode(settings{loopback: true})
	_ = n.start()
	p := n.peerFor(ServiceId{Host: n.id})
	n.mu.Lock()
	n.forgetLocked(p) // what the end of the last session does
	n.mu.Unlock()
	s, err := n.session(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	n.opened(s, false)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = n.Close()
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("Close waits for a session")
	}
}

// What a neighbour tells on one link and takes back on another is not kept.
func TestKnownBounded(t *testing.T) {
	n := newNode(settings{Config: Config{ID: 2}})
	_ = n.start()
	p := n.peerLocked(1, "")
	for range 2 {
		l := &link{node: n, peer: p, up: true, known: make(map[ServiceId]struct{})}
		l.wake.L = &n.mu
		p.links = append(p.links, l)
	}
	for port := range uint32(1000) {
		s := ServiceId{Service: "svc", Host: 1, Port: port}
		for i, there := range []bool{true, false} {
			if err := p.links[i].heardOf(s, there); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, b := len(p.links[0].known), len(p.links[1].known); a+b+len(p.services) != 0 {
		t.Errorf("%d and %d services are known on the links, and %d in all", a, b, len(p.services))
	}
	p.links = nil
	_ = n.Close()
}

// A neighbour that says again and again that it has told all does not have the node look through its services each time.
func TestAllOnce(t *testing.T) {
	n := newNode(settings{Config: Config{ID: 2}})
	_ = n.start()
	l := &link{node: n, peer: n.peerLocked(1, ""), up: true, known: make(map[ServiceId]struct{})}
	l.wake.L = &n.mu
	l.peer.links = []*link{l}
	l.heardAll()
	before := n.linked
	l.heardAll()
	if n.linked != before {
		t.Error("the second time counts, too")
	}
	l.peer.links = nil
	_ = n.Close()
}

// A context that ends a listener, and the node's Close, may come at any time.
func TestBindWhileClosing(t *testing.T) {
	for range 100 {
		n := newNode(settings{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			l, err := n.BindContext(ctx, "", "svc")
			if err == nil {
				_, err = l.Accept()
			}
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		wg.Go(cancel)
		wg.Go(func() { _ = n.Close() })
		wg.Wait()
	}
}

// A WebSocket listener that has not served yet gives its port back.
func TestWebSocketUnserved(t *testing.T) {
	n := newNode(settings{})
	_ = n.start()
	s, err := wsCarrier{n, "ws"}.listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if c, err := s.(*wsSource).Accept(); err == nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, %v, want a closed listener", c, err)
	}
	_ = n.Close()
}

// The Handler of a node that does not work takes no links.
func TestHandlerUnusable(t *testing.T) {
	for name, x := range map[string]struct {
		n    AstraNet
		want string
	}{
		"invalid":              {Config{Backlog: -1}.New(), "invalid Config: Backlog is negative"},
		"closed before it ran": {New(), "node is closed"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "invalid" {
				_ = x.n.Close()
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
			r.RemoteAddr = "127.0.0.1:1234"
			x.n.Handler().ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || strings.TrimSpace(w.Body.String()) != x.want {
				t.Errorf("got %d %q, want 403 %q", w.Code, w.Body, x.want)
			}
			_ = x.n.Close()
		})
	}
}
