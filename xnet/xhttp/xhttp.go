package xhttp

import (
	"context"
	"net/http"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// Transport returns a transport that dials with [xnet.DialContext], and otherwise is like
// http.DefaultTransport, except that it uses no proxy. The caller may change it before its first use.
//
// For https:// it speaks TLS on top of n, by its TLSClientConfig. With an [xnet.NetTLS], which already does, URLs are
// http://.
func Transport(n xnet.Networker) *http.Transport {
	return &http.Transport{
		DialContext:           xnet.DialContext(n),
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// Client returns a client over n, with a [Transport] of its own. Its CloseIdleConnections closes the
// connections that it keeps for later requests.
func Client(n xnet.Networker) *http.Client {
	return &http.Client{Transport: Transport(n)}
}

// Serve serves srv on l until ctx is done, or srv is shut down or closed, and closes l.
//
// When ctx is done no more connections are accepted, and those there are go on: Shutdown of srv waits for
// their requests, Close does not. Serve returns http.ErrServerClosed after either of them, and otherwise
// the error of Accept, a *net.OpError with ctx's error as the cause when ctx is done.
func Serve(ctx context.Context, srv *http.Server, l xnet.Listener) error {
	return srv.Serve(xnet.BindCtxL(l, ctx))
}
