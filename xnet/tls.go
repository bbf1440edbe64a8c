package xnet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/virtnet/virtnet/internal/punycode"
)

// NetTLS returns an access-point that speaks TLS on top of inner: its Network is inner's plus "+tls", its
// Name and addresses are inner's, and connections are *tls.Conn. Closing it closes inner. config must not be
// changed afterwards; nil is the zero config.
//
// Dial returns after the handshake, which ctx bounds as it bounds the connecting. If config has no ServerName it is
// the dialled host; an empty host is this one, so it is Name. A host name that is not ASCII is checked in the
// form that certificates have for it ("xn--mxa" for "α").
//
// Listen needs a config with a certificate. Accept returns a connection before its handshake, which is made by the first
// Read or Write, as with crypto/tls's own listener: one client does not hold up another, and one
// that never handshakes costs what a client does that connects and says nothing. Whoever accepted
// bounds it, by a deadline, by HandshakeContext, or by Close, which does not wait for it. Programs that write first and want
// to know first whom they write to call HandshakeContext.
//
// As crypto/tls says, a Write that ran into its deadline is the last one: a record may have been sent in part.
func NetTLS(inner Networker, config *tls.Config) Networker {
	if config == nil {
		config = new(tls.Config)
	}
	n := &tlsNet{Networker: inner, config: config}
	n.down, n.shutdown = context.WithCancel(context.Background())
	return n
}

type tlsNet struct {
	Networker
	config   *tls.Config
	down     context.Context // done once closed: ends handshakes, which inner knows nothing of
	shutdown context.CancelFunc
}

func (n *tlsNet) Network() string { return n.Networker.Network() + "+tls" }

func (n *tlsNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := n.Networker.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	tconn := tls.Client(conn, n.clientConfig(addr))
	hctx, release := until(ctx, n.down)
	defer release()
	err = tconn.HandshakeContext(hctx)
	if err == nil {
		return tconn, nil
	}
	conn.Close() // not tconn, which would say goodbye first
	if n.down.Err() != nil {
		err = net.ErrClosed
	}
	return nil, &net.OpError{Op: "dial", Net: n.Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
}

// clientConfig returns the config to dial addr with.
func (n *tlsNet) clientConfig(addr string) *tls.Config {
	if n.config.ServerName != "" {
		return n.config
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return n.config // not a host, e.g. the path of a unix socket
	}
	if host == "" {
		host = n.Name()
	}
	config := n.config.Clone()
	config.ServerName = punycode.ToASCII(host)
	return config
}

var errNoCertificate = errors.New("tls: config has no certificate")

func (n *tlsNet) Listen(ctx context.Context, laddr string) (Listener, error) {
	c := n.config
	if len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return nil, &net.OpError{Op: "listen", Net: n.Network(), Addr: textAddr{n.Network(), laddr}, Err: errNoCertificate}
	}
	l, err := n.Networker.Listen(ctx, laddr)
	if err != nil {
		return nil, err
	}
	return &tlsListener{l, c}, nil
}

func (n *tlsNet) Close() error {
	n.shutdown()
	return n.Networker.Close()
}

type tlsListener struct {
	Listener
	config *tls.Config
}

func (l *tlsListener) Accept(ctx context.Context) (net.Conn, error) {
	conn, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return tls.Server(conn, l.config), nil
}
