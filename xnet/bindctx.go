package xnet

import (
	"context"
	"errors"
	"net"
)

// BindCtxL returns l as a net.Listener, for http.Serve, grpc and others: its Accept is l's with ctx.
//
// When ctx is done Accept fails with ctx's error as the cause. The error is not a temporary one (that of a
// deadline would be, and servers try again after those), so a Serve returns. Close closes l.
//
// It undoes [WithCtxL]: if ctx can never be done (its Done is nil, as context.Background's),
// BindCtxL(WithCtxL(l), ctx) is l itself. The exception is a Listener that an Accept is using, or a
// cancelled one has used and no connection has come since: it may hold a connection that l would miss.
func BindCtxL(l Listener, ctx context.Context) net.Listener {
	if c, ok := l.(*ctxListener); ok && ctx.Done() == nil && c.idle() {
		return c.l
	}
	return &boundListener{l, ctx}
}

type boundListener struct {
	l   Listener
	ctx context.Context
}

func (b *boundListener) Accept() (net.Conn, error) {
	conn, err := b.l.Accept(b.ctx)
	if ended := b.ctx.Err(); ended != nil && err != nil && errors.Is(err, ended) {
		addr := b.l.Addr()
		err = &net.OpError{Op: "accept", Net: addr.Network(), Addr: addr, Err: final{ended}}
	}
	return conn, err
}

func (b *boundListener) Close() error   { return b.l.Close() }
func (b *boundListener) Addr() net.Addr { return b.l.Addr() }

// final is the error of a context, without the Temporary that context.DeadlineExceeded has.
type final struct{ error }

func (f final) Unwrap() error { return f.error }
func (f final) Timeout() bool { return errors.Is(f.error, context.DeadlineExceeded) }
