package proxy

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// serveSocks serves a client that speaks SOCKS5, until its connection ends. There is a deadline on the connection, for
// the handshake.
func (p *Proxy) serveSocks(ctx context.Context, c *client) {
	req, err := socksHandshake(c)
	if err != nil {
		if bad, ok := errors.AsType[*socksError](err); ok {
			p.call(c, SOCKS5, "").refused(bad)
			c.farewell(bad.answer)
		}
		return
	}
	p.crowd.setBusy(c)
	call := p.call(c, SOCKS5, net.JoinHostPort(req.host, strconv.Itoa(int(req.port))))
	dialling, attended := c.attend(ctx)
	up, derr := p.dial(dialling, call.e.To)
	gone := dialling.Err() != nil
	early := attended()
	switch {
	case derr != nil && gone:
		call.refused(errGone)
		bridge.Reset(c.Conn)
		return
	case derr != nil:
		call.refused(derr)
		c.farewell(reply(derr.socks(req)))
		return
	}
	bridge.Guard(up) // before anybody hears of it
	call.opened(up)
	if _, err := c.Write(reply(replyOK)); err != nil {
		bridge.Reset(up)
		call.ended(0, 0, err)
		return
	}
	call.tunnel(ctx, c.Conn, early, up)
}

// socksHandshake hears what the client wants. The error is a *socksError, or that of the connection.
func socksHandshake(c *client) (socksRequest, error) {
	if err := readGreeting(c.Conn); err != nil {
		return socksRequest{}, err
	}
	if _, err := c.Write([]byte{socks5, methodNone}); err != nil {
		return socksRequest{}, err
	}
	return readRequest(c.Conn)
}

// attend returns a context that also ends when the client goes away: it hangs up, or breaks the connection. What it
// sends meanwhile is read, a byte at most, and returned by attended, after which nobody reads any more and there
// is no deadline.
func (c *client) attend(ctx context.Context) (_ context.Context, attended func() (early []byte)) {
	ctx, cancel := context.WithCancelCause(ctx)
	_ = c.SetDeadline(time.Time{})
	var buf [1]byte
	var n int
	read := make(chan struct{})
	go func() {
		defer close(read)
		var err error
		if n, err = c.Conn.Read(buf[:]); n == 0 {
			cancel(err)
		}
	}()
	return ctx, func() []byte {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-read
		_ = c.SetReadDeadline(time.Time{})
		cancel(nil)
		return buf[:n]
	}
}
