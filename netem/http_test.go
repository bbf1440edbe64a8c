package netem_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/xnet"
)

// net/http in virtual time: a request takes the latencies of its dial and its own, and one across a partition waits until
// that is healed.
func TestHTTP(t *testing.T) {
	run(t, -1, func(w *world) {
		if err := w.em.SetAll(netem.Rules{Latency: netem.Constant(20 * ms)}); err != nil {
			t.Fatal(err)
		}
		l, err := w.net.Host("α").Listen(w.ctx, ":80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello") })}
		go server.Serve(xnet.BindCtxL(l, w.ctx))
		defer server.Close()
		transport := &http.Transport{DialContext: w.net.Host("β").DialContext, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		get := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			resp, err := (&http.Client{Transport: transport}).Get("http://α:80/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
				t.Errorf("read %q, %v", body, err)
			}
			w.took("a request", time.Since(began), want)
		}
		get(80 * ms)
		p := w.em.Isolate("α")
		time.AfterFunc(90*time.Minute, p.Heal)
		get(90*time.Minute + 3*20*ms) // the dial's first segment has had its latency by then
	})
}
