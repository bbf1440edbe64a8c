package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// An exchange is one request on its way, and what comes back.
type exchange struct {
	w      http.ResponseWriter
	client *client
	call   *call
	up     *counted // to where the request goes
}

// exchangeKey is what the context of a request that is forwarded has its *exchange under.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// forward serves a plain HTTP request. Each has a connection of its own: none is kept for others, so that a server sees
// the end of what it serves, and no port is held for nothing. What is sent is origin-form, so that a proxy that
// is reached through this one refuses it: there are no loops.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, c *client, call *call) {
	// Not by the transport, which goes on dialling when nobody waits any more.
	up, derr := p.dial(r.Context(), call.e.To)
	if derr != nil {
		call.refuse(w, r, derr)
		return
	}
	call.opened(up)
	x := &exchange{w: w, client: c, call: call, up: &counted{Conn: up}}
	defer x.end()
	_ = http.NewResponseController(w).EnableFullDuplex() // a server may answer what is still being said
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// end ends the exchange. It is deferred.
func (x *exchange) end() {
	_ = x.up.Close()
	cut := recover()
	if cut != nil {
		x.up.fail(errCut)
	}
	if !x.up.switched {
		x.call.ended(x.up.result())
	}
	if cut != nil {
		panic(cut)
	}
}

var (
	errCut = errors.New("the answer was cut short")
	// errSwitched says that the answer has been dealt with: client and server have changed to another protocol, and
	// that has ended.
	errSwitched = errors.New("switched protocols")
)

// setReverse makes what forwards requests, and answers.
func (p *Proxy) setReverse() {
	p.reverse = httputil.ReverseProxy{
		Rewrite: rewrite,
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return exchangeOf(ctx).up, nil },
			DisableKeepAlives:      true,
			DisableCompression:     true, // it would be undone here
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxHeader,
		},
		FlushInterval:  -1, // what a server sends bit by bit comes bit by bit
		ModifyResponse: answered,
		ErrorHandler:   notAnswered,
		ErrorLog:       log.New(io.Discard, "", 0), // clients are told
	}
}

// rewrite makes what is sent of what came. Only what is about the connection to the proxy is left out.
func rewrite(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := r.In.Header[name]; values != nil {
			r.Out.Header[name] = values
		}
	}
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	addVia(r.Out.Header, r.In.ProtoMajor, r.In.ProtoMinor)
}

// addVia says who has forwarded a message, as RFC 9110 wants it of a proxy.
func addVia(h http.Header, major, minor int) {
	h.Add("Via", fmt.Sprintf("%d.%d virtnet", major, minor))
}

// answered takes the answer to a request.
func answered(res *http.Response) error {
	addVia(res.Header, res.ProtoMajor, res.ProtoMinor)
	if res.StatusCode == http.StatusSwitchingProtocols {
		ctx := res.Request.Context()
		return exchangeOf(ctx).switchProtocols(ctx, res)
	}
	return nil
}

// notAnswered tells the client why there is no answer.
func notAnswered(w http.ResponseWriter, r *http.Request, err error) {
	if err == errSwitched {
		return
	}
	x := exchangeOf(r.Context())
	err = fmt.Errorf("no answer from %s: %w", x.call.e.To, err)
	x.up.fail(err)
	http.Error(w, "virtnet: "+err.Error(), http.StatusBadGateway)
}

// switchProtocols serves a connection on which client and server have agreed on another protocol, such as WebSocket.
func (x *exchange) switchProtocols(ctx context.Context, res *http.Response) error {
	want, got := res.Request.Header.Get("Upgrade"), res.Header.Get("Upgrade")
	if want == "" || !strings.EqualFold(want, got) {
		return fmt.Errorf("it has switched to protocol %q, where %q was asked for", got, want)
	}
	beyond, err := x.up.beyond(res.Body)
	if err != nil {
		return err
	}
	early, err := hijack(x.w, x.client)
	if err != nil {
		return err
	}
	defer x.client.leave()
	var words bytes.Buffer
	head := *res
	head.Body = nil
	_ = head.Write(&words)
	words.Write(beyond)
	if _, err := x.client.Write(words.Bytes()); err != nil {
		x.up.fail(err)
		bridge.Reset(x.up.Conn)
		return errSwitched
	}
	x.up.switched = true
	x.call.tunnel(ctx, x.client.Conn, early, x.up.Conn)
	return errSwitched
}

// counted is a connection on which one request is forwarded.
type counted struct {
	net.Conn
	sent, received atomic.Int64 // the transport has goroutines for each

	// Of the goroutine of the request.
	switched bool  // it is a tunnel now
	err      error // what went wrong first
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// fail notes what went wrong, unless something has before.
func (c *counted) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// result returns what has gone over the connection, and what went wrong.
func (c *counted) result() (sent, received int64, err error) {
	return c.sent.Load(), c.received.Load(), c.err
}

// beyond returns what the transport has read beyond an answer whose body is the connection.
func (c *counted) beyond(body io.Reader) ([]byte, error) {
	// The body gives what is buffered without asking the connection.
	_ = c.SetReadDeadline(time.Unix(1, 0))
	b, err := io.ReadAll(body)
	if t, ok := errors.AsType[net.Error](err); !ok || !t.Timeout() {
		return nil, fmt.Errorf("after it has switched protocols: %w", err)
	}
	return b, c.SetReadDeadline(time.Time{})
}
