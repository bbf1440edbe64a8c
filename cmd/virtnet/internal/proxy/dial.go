package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/virtnet/virtnet"
)

// A dialError says why there is no connection, in a way that helps who wanted it.
type dialError struct {
	err  error
	hint string
}

func (e *dialError) Error() string {
	if e.hint == "" {
		return e.err.Error()
	}
	return e.err.Error() + "; " + e.hint
}

func (e *dialError) Unwrap() error { return e.err }

// dial connects to an address.
func (p *Proxy) dial(ctx context.Context, addr string) (net.Conn, *dialError) {
	limit := p.config.dialTimeout()
	dialling, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := p.config.Dial(dialling, "tcp", addr)
	if err == nil {
		return conn, nil
	}
	e := &dialError{err: err}
	switch {
	case e.timeout():
		e.hint = fmt.Sprintf("nobody has accepted within %v", limit)
	case e.noHost() && isIP(addr):
		e.hint = "an IP address is no name: leave it to the proxy to look up names (socks5h, not socks5)"
	}
	return nil, e
}

// isIP tells whether the host of an address is an IP address.
func isIP(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// noHost tells whether nothing has that name, or can have it.
func (e *dialError) noHost() bool {
	_, invalid := errors.AsType[*net.AddrError](e.err)
	return invalid || errors.Is(e.err, virtnet.ErrNoHost)
}

func (e *dialError) timeout() bool { return errors.Is(e.err, context.DeadlineExceeded) }

// status returns what HTTP says for it.
func (e *dialError) status() int {
	if e.timeout() {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// socks returns what SOCKS says for it, to that request.
func (e *dialError) socks(req socksRequest) replyCode {
	switch {
	case e.timeout():
		return replyTimeout
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return replyRefused
	case e.noHost() && req.isIP:
		return replyNoAddrType
	case e.noHost():
		return replyNoHost
	}
	return replyFailure
}
