package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// A Proxy serves clients. Its methods are safe for concurrent use.
type Proxy struct {
	config  Config
	crowd   *crowd // the clients
	reverse httputil.ReverseProxy
	calls   atomic.Int64 // number of the last connection that was asked for
}

// New returns a proxy with these settings, which serves nobody yet.
func (c Config) New() *Proxy {
	p := &Proxy{config: c, crowd: newCrowd(c.maxConns())}
	p.setReverse()
	return p
}

// Serve serves the clients that connect to l until ctx ends, and returns nil then; or until an Accept fails for good, and
// returns its error. Before it returns it closes l and resets all connections, and nothing is left of them. It may be
// called once.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closeListener := sync.OnceFunc(func() { _ = l.Close() })
	defer closeListener()
	defer context.AfterFunc(ctx, closeListener)()

	web := newHandoff(l.Addr())
	srv := p.newServer(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(web) })
	err := p.accept(ctx, l, web)
	if ctx.Err() != nil {
		err = nil
	}
	cancel(net.ErrClosed)
	_ = web.Close()
	p.crowd.reset()
	_ = srv.Close() // whose connections are gone
	serving.Wait()
	return err
}

// Quiet returns once no client is connected, or ctx ends.
func (p *Proxy) Quiet(ctx context.Context) {
	select {
	case <-p.crowd.empty():
	case <-ctx.Done():
	}
}

// accept takes in clients until an Accept fails for good.
func (p *Proxy) accept(ctx context.Context, l net.Listener, web *handoff) error {
	var wait time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil || !temporary(err):
			return err
		default:
			if wait == 0 {
				p.config.tell(Event{Kind: Trouble, Err: fmt.Errorf("clients must wait: %w", err)})
			}
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			sleep(ctx, wait)
			continue
		}
		wait = 0
		bridge.Guard(conn)
		c := &client{Conn: conn, crowd: p.crowd}
		if !p.crowd.enter(ctx, c) {
			bridge.Reset(conn)
			return ctx.Err()
		}
		go p.greet(ctx, c, web)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// temporary tells whether an Accept failed for want of something that may come back, such as descriptors.
func temporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// The first bytes of what clients speak, but for HTTP.
const (
	socks5 = 5
	socks4 = 4
)

// greet finds out what a client speaks, and serves it or hands it to the HTTP server.
func (p *Proxy) greet(ctx context.Context, c *client, web *handoff) {
	var first [1]byte
	_ = c.SetDeadline(time.Now().Add(p.config.handshakeTimeout()))
	if _, err := io.ReadFull(c.Conn, first[:]); err != nil {
		c.leave()
		return
	}
	switch b := first[0]; {
	case b == socks5:
		p.serveSocks(ctx, c)
		c.leave()
	case b >= 'A' && b <= 'Z': // as every method of HTTP begins
		c.first = first[:]
		_ = c.SetDeadline(time.Time{})
		if !web.give(c) {
			c.leave()
		}
	default:
		p.refuseStranger(c, b)
		c.leave()
	}
}

var (
	errSocks4   = errors.New("SOCKS4 is not supported: use SOCKS5 with remote names (socks5h)")
	errStranger = errors.New("neither HTTP nor SOCKS5")
)

// refuseStranger answers what is neither HTTP nor SOCKS5.
func (p *Proxy) refuseStranger(c *client, first byte) {
	if first == socks4 {
		p.call(c, Unknown, "").refused(errSocks4)
		c.farewell([]byte{0, 0x5b, 0, 0, 0, 0, 0, 0}) // "request rejected or failed"
		return
	}
	p.call(c, Unknown, "").refused(errStranger)
	c.farewell([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
		"virtnet: this is a proxy for HTTP and SOCKS5, without TLS, and what came is neither.\n"))
}
