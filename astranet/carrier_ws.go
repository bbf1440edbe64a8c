package astranet

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// wsCarrier is WebSocket: a link that gets through where HTTP does. The nodes' own TLS runs within, so what is between them, such as
// a reverse proxy that ends the TLS of wss, neither reads nor changes what they say. Messages are binary, and their
// borders mean nothing.
type wsCarrier struct {
	node   *node
	scheme string // ws or wss
}

func (k wsCarrier) url(address string) (*url.URL, error) {
	u, err := url.Parse(k.scheme + "://" + address)
	if err == nil && u.Hostname() == "" {
		err = &net.AddrError{Err: "missing host", Addr: address}
	}
	return u, err
}

func (k wsCarrier) check(address string) error {
	_, err := k.url(address)
	return err
}

// resolve leaves the name to the dial: one server, as a rule, answers at all its addresses. Only whether they are all of this
// machine may matter before.
func (k wsCarrier) resolve(ctx context.Context, address string) ([]string, error) {
	if s := &k.node.set; !s.secured() && !s.Insecure {
		u, err := k.url(address)
		if err != nil {
			return nil, err
		}
		if _, err := k.node.lookup(ctx, "ip", u.Hostname()); err != nil {
			return nil, err
		}
	}
	return []string{address}, nil
}

func (k wsCarrier) dial(ctx context.Context, address string) (net.Conn, error) {
	u, err := k.url(address)
	if err != nil {
		return nil, err
	}
	client := k.node.set.HTTPClient
	if client == nil {
		t := &http.Transport{DialContext: k.node.dialer().DialContext}
		defer t.CloseIdleConnections()
		client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	var conn net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn = i.Conn }})
	ws, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, dialledError(ctx, resp, err)
	}
	c := newWSConn(ws)
	if conn != nil {
		c.local, c.remote = conn.LocalAddr(), conn.RemoteAddr()
	}
	if err := k.node.mayLink("join", c.remote); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// dialledError says what became of the request: the library's error goes into the details of HTTP.
func dialledError(ctx context.Context, resp *http.Response, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if resp != nil {
		text := "the HTTP server does not take links there: it answers " + resp.Status
		if resp.Body != nil {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
			if line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n"); line != "" {
				text += ": " + strings.ToValidUTF8(line, "?")
			}
		}
		return errors.New(text)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

func (k wsCarrier) listen(ctx context.Context, address string) (source, error) {
	if k.scheme == "wss" {
		return nil, errors.New(`wss is for Join. Mount the node's Handler in a server with TLS, or listen at "ws" behind a proxy`)
	}
	host, path, _ := strings.Cut(address, "/")
	l, err := k.node.listenTCP(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	n := k.node
	s := &wsSource{Listener: l, node: n, path: "/" + path}
	s.server = &http.Server{
		Handler:        s,
		ReadTimeout:    n.set.handshake(), // both count for what is HTTP, not for links
		WriteTimeout:   n.set.handshake(),
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, arrivalKey{}, c.(*arrival))
		},
	}
	s.server.SetKeepAlivesEnabled(false)
	return s, nil
}

// wsSource is a small HTTP server, for links only.
type wsSource struct {
	net.Listener
	node   *node
	path   string
	server *http.Server
}

func (s *wsSource) Addr() net.Addr { return namedAddr{"ws", s.Listener.Addr().String() + s.path} }

func (s *wsSource) Close() error {
	err := s.server.Close()
	_ = s.Listener.Close() // which the server does not know if it has not served yet
	return err
}

func (s *wsSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != s.path {
		http.NotFound(w, r)
		return
	}
	s.node.serveWS(w, r)
}

func (s *wsSource) serve() {
	_ = s.server.Serve(arrivals{s.Listener, s.node})
	_ = s.Listener.Close()
}

// arrivals are connections that count as half-open before there is an HTTP request.
type arrivals struct {
	net.Listener
	node *node
}

func (l arrivals) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.node.arrive(c), nil
}

type arrivalKey struct{}

// arrival is a connection to the node's own HTTP server. It is closed if it is the oldest of too many that are no links yet.
type arrival struct {
	net.Conn
	settle func() // it is a link, or has ended
}

func (n *node) arrive(c net.Conn) *arrival {
	ctx, done := n.waiting.add(n.ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return &arrival{c, sync.OnceFunc(func() { stop(); done() })}
}

func (a *arrival) Close() error {
	a.settle()
	return a.Conn.Close()
}

// serveWS takes a link. It returns at once: the connection is the node's then.
func (n *node) serveWS(w http.ResponseWriter, r *http.Request) {
	if err := n.mayServe(r); err != nil {
		n.log.Warn("a WebSocket was refused", "from", r.RemoteAddr, "why", err)
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		n.log.Warn("an HTTP request did not become a link", "from", r.RemoteAddr, "why", err)
		return
	}
	c := newWSConn(ws)
	c.remote = namedAddr{"ws", r.RemoteAddr}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		c.local = a
	}
	if a, ok := r.Context().Value(arrivalKey{}).(*arrival); ok {
		a.settle() // from now on it counts as others do
	}
	n.take(c)
}

// mayServe forbids what can be known to come from other machines, if they could be anybody, and browsers: what a page
// of another site says is not what its reader wants.
func (n *node) mayServe(r *http.Request) error {
	switch {
	case n.invalid != nil:
		return n.invalid
	case n.isClosed():
		return ErrNodeClosed
	}
	if r.Header.Get("Origin") != "" {
		return errors.New("links are between nodes, not for browsers")
	}
	if n.set.secured() || n.set.Insecure {
		return nil
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if r.Header.Get(h) != "" {
			return insecure("take a link through a proxy")
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err == nil && ip != nil && !ip.IsLoopback() {
		return insecure("take a link from " + r.RemoteAddr)
	}
	return nil
}

// wsConn is a WebSocket as a connection, without deadlines: the library ends it for good when one passes.
type wsConn struct {
	net.Conn
	ws            *websocket.Conn
	local, remote net.Addr
}

func newWSConn(ws *websocket.Conn) *wsConn {
	unknown := namedAddr{"ws", "unknown"}
	return &wsConn{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws, unknown, unknown}
}

func (c *wsConn) LocalAddr() net.Addr              { return c.local }
func (c *wsConn) RemoteAddr() net.Addr             { return c.remote }
func (c *wsConn) SetDeadline(time.Time) error      { return errNoDeadlines }
func (c *wsConn) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (c *wsConn) SetWriteDeadline(time.Time) error { return errNoDeadlines }

func (c *wsConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, bareWS(err)
}

func (c *wsConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, bareWS(err)
}

// bareWS returns what the connection below had to say, rather than the library.
func bareWS(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		return oe
	}
	return err
}

// Close does not wait for the other end. A link's end has been said within.
func (c *wsConn) Close() error { return c.ws.CloseNow() }

// namedAddr is an address that is a text.
type namedAddr struct{ network, text string }

func (a namedAddr) Network() string { return a.network }
func (a namedAddr) String() string  { return a.text }
