package proxy

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// maxHeader is how many bytes the header of a request may have, and that of an answer.
const maxHeader = 64 << 10

// clientKey is what the context of a request has its *client under.
type clientKey struct{}

// newServer returns the server for the clients that speak HTTP. ctx ends their requests.
func (p *Proxy) newServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(p.serveHTTP),
		ReadHeaderTimeout: p.config.handshakeTimeout(),
		IdleTimeout:       p.config.idleTimeout(),
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // clients are told
		// "OPTIONS *" is about the proxy, which has no pages.
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, clientKey{}, conn)
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			switch c := conn.(*client); state {
			case http.StateActive:
				p.crowd.setBusy(c)
			case http.StateIdle:
				p.crowd.setQuiet(c)
			case http.StateClosed: // those that are hijacked leave by themselves
				c.leave()
			}
		},
	}
}

// serveHTTP serves a request.
func (p *Proxy) serveHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(clientKey{}).(*client)
	defer func() {
		cut := recover()
		if cut == nil {
			return
		}
		// What is cut short must not look whole, as an answer would that ends with its connection.
		bridge.Reset(c.Conn)
		if cut != http.ErrAbortHandler {
			p.config.tell(Event{Kind: Trouble, Err: fmt.Errorf("BUG: %v, at %s", cut, debug.Stack())})
		}
		panic(http.ErrAbortHandler)
	}()
	protocol, port := HTTP, "80"
	switch {
	case r.Method == http.MethodConnect:
		protocol, port = Connect, ""
	case r.URL.Scheme == "":
		p.badRequest(w, c, "this is a proxy, and has no pages of its own: use it as in curl --proxy http://%s http://HOST/", r.Host)
		return
	case r.URL.Scheme != "http":
		p.badRequest(w, c, "the proxy speaks plain HTTP and not %q: have it CONNECT instead", r.URL.Scheme)
		return
	}
	addr, err := target(r.URL, port)
	if err != nil {
		p.badRequest(w, c, "%v", err)
		return
	}
	call := p.call(c, protocol, addr)
	if protocol == Connect {
		p.connect(w, r, c, call)
		return
	}
	p.forward(w, r, c, call)
}

// badRequest answers a request that this proxy can do nothing for.
func (p *Proxy) badRequest(w http.ResponseWriter, c *client, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	p.call(c, HTTP, "").refused(err)
	http.Error(w, "virtnet: "+err.Error(), http.StatusBadRequest)
}

// target returns the address that a URL is about. If port is empty, the URL must have one.
func target(u *url.URL, port string) (string, error) {
	if p := u.Port(); p != "" {
		port = p
	}
	if u.Hostname() == "" || port == "" {
		return "", fmt.Errorf("address %q: want HOST:PORT", u.Host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("address %q: want a port from 1 to 65535", u.Host)
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// connect serves CONNECT: it answers once there is a connection, and then the client's connection is joined to that.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request, c *client, call *call) {
	up, derr := p.dial(r.Context(), call.e.To)
	if derr != nil {
		call.refuse(w, r, derr)
		return
	}
	bridge.Guard(up) // before anybody hears of it
	call.opened(up)
	early, err := hijack(w, c)
	if err != nil {
		bridge.Reset(up)
		call.ended(0, 0, err)
		return
	}
	defer c.leave()
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		bridge.Reset(up)
		call.ended(0, 0, err)
		return
	}
	call.tunnel(r.Context(), c.Conn, early, up)
}

// hijack takes the client's connection from the server, and returns what the client has sent already. After it the
// client must leave.
func hijack(w http.ResponseWriter, c *client) (early []byte, _ error) {
	_, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	early, _ = buf.Reader.Peek(buf.Reader.Buffered())
	return early, nil
}

// refuse answers that there is no connection. It panics with http.ErrAbortHandler if nobody waits for an answer.
func (c *call) refuse(w http.ResponseWriter, r *http.Request, err *dialError) {
	if r.Context().Err() != nil {
		c.refused(errGone)
		panic(http.ErrAbortHandler) // for a handler that says nothing says 200 OK
	}
	c.refused(err)
	http.Error(w, "virtnet: "+err.Error(), err.status())
}
