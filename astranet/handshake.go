package astranet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// A handshake makes a link of a connection. The end that has dialled is TLS's client.
type handshake struct {
	node    *node
	conn    net.Conn
	dialled bool
	standby bool
	tls     *tls.Conn
	other   hello
	step    string // what the other end is to do
	decided bool   // this end has refused the other, and only lets it know
	flow    *flowing

	identity ca.Identity // that the other end has proved; without credentials none
}

// run does the handshake, within the node's time-out, and returns the link. It closes the connection if there is none.
func (h *handshake) run(ctx context.Context) (*link, error) {
	limit := h.node.set.handshake()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raw := h.conn
	h.conn = steady(raw)
	if !isBuffered(raw) {
		h.flow = newFlowing(h.conn)
		h.conn = h.flow
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	l, err := h.steps(ctx)
	if !stop() && err == nil {
		l.abandon()
		err = ctx.Err()
	}
	if err == nil {
		return l, nil
	}
	_ = raw.Close()
	_ = h.conn.Close() // which frees what TLS has, and has nothing to send any more
	switch cause := context.Cause(ctx); {
	case h.node.ctx.Err() != nil:
		err = ErrNodeClosed
	case h.decided:
	case errors.Is(cause, context.DeadlineExceeded):
		err = &lateError{"sent " + h.step, limit}
	case cause != nil:
		err = cause
	}
	return nil, err
}

func (h *handshake) steps(ctx context.Context) (*link, error) {
	h.step = "its part of TLS's handshake"
	if err := h.secure(ctx); err != nil {
		return nil, err
	}
	h.step = "its hello"
	err, werr := h.exchange(h.hello().encode(), func() (err error) {
		h.other, err = readHello(h.conn)
		return err
	})
	if he, ok := errors.AsType[*helloError](err); ok && werr == nil {
		_, _ = h.conn.Write(verdict{linkDenied, he.there}.encode())
		h.decided = true
		h.linger()
		if h.flow != nil {
			h.drain(refusedSoon)
		}
	}
	if err != nil {
		return nil, h.explain(err)
	}
	l, v := h.judge(ctx)
	h.step = "its verdict"
	var theirs verdict
	err, werr = h.exchange(v.encode(), func() (err error) {
		theirs, err = readVerdict(h.conn)
		return err
	})
	switch own, other := (&verdictError{verdict: v}), (&verdictError{verdict: theirs, remote: true}); {
	case v.code != linkAdmitted && err == nil && other.final() && !own.final():
		return nil, other
	case v.code != linkAdmitted:
		h.decided = err == nil
		h.linger()
		return nil, own
	case err == nil && theirs.code != linkAdmitted:
		err = other
	case err == nil:
		err = werr
	}
	if err == nil && h.flow != nil {
		err = h.flow.settle()
	}
	if err != nil {
		l.abandon()
		return nil, h.explain(err)
	}
	if h.flow != nil && h.tls == nil {
		l.conn = h.flow.Conn
	}
	return l, nil
}

// A lateError is that of a handshake that has taken too long.
type lateError struct {
	what  string // what the other end has not done
	limit time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("the other end has not %s within %v: %v", e.what, e.limit, context.DeadlineExceeded)
}
func (*lateError) Timeout() bool   { return true }
func (*lateError) Temporary() bool { return true }
func (*lateError) Unwrap() error   { return context.DeadlineExceeded }

// hello is what this node says of itself.
func (h *handshake) hello() hello {
	n := h.node
	own := hello{lowest: linkVersion, highest: linkVersion, id: n.id, life: n.life, name: n.name}
	if h.standby {
		own.flags |= flagStandby
	}
	return own
}

// exchange writes while it reads: on a pipe without buffer neither end could write before the other reads. What was read
// counts, even if the other end has closed before it took what is written. A Write that is not waited for ends
// when the connection is closed.
func (h *handshake) exchange(p []byte, read func() error) (err, werr error) {
	wrote := make(chan error, 1)
	go func() {
		_, err := h.conn.Write(p)
		wrote <- err
	}()
	err = read()
	if _, ok := errors.AsType[*helloError](err); err != nil && !ok {
		return err, nil
	}
	return err, <-wrote
}

// linger lets the other end read the verdict before the connection is closed, which could destroy it on its way.
func (h *handshake) linger() {
	if h.flow != nil {
		stop := time.AfterFunc(refusedPatience, func() { _ = h.conn.Close() })
		defer stop.Stop()
		_ = h.flow.settle()
	} else if closeWrite(h.conn) == nil {
		h.drain(refusedPatience)
	}
}

const (
	// refusedPatience is how long an end that refuses the other waits until that has closed, refusedSoon if that may wait likewise.
	refusedPatience = time.Second
	refusedSoon     = 100 * time.Millisecond
)

// drain reads until the other end has closed, too, or for a while. Until then it may have something to write, which it must get rid of
// before it reads.
func (h *handshake) drain(limit time.Duration) {
	stop := time.AfterFunc(limit, func() { _ = h.conn.Close() })
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, h.conn, 64<<10)
}

// tlsRecord is what a TLS connection begins with.
const tlsRecord = 0x16

// secure wraps the connection in TLS, if the node has credentials.
func (h *handshake) secure(ctx context.Context) error {
	creds := h.node.set.Credentials
	if creds == nil {
		return nil
	}
	if h.dialled {
		h.tls = tls.Client(belowTLS(h.conn), creds.Client())
	} else {
		h.step = "anything"
		var first [1]byte
		if _, err := io.ReadFull(h.conn, first[:]); err != nil {
			return cutShort(err)
		}
		h.step = "its part of TLS's handshake"
		if first[0] != tlsRecord {
			return h.refusePlain()
		}
		h.tls = tls.Server(&prefixConn{Conn: belowTLS(h.conn), first: first[:]}, creds.Server())
	}
	if err := h.tls.HandshakeContext(ctx); err != nil {
		if isOwn(err) && ctx.Err() == nil {
			h.decided = true
			if h.flow == nil { // or it would overtake the alert
				_ = closeWrite(h.conn)
			}
			h.drain(refusedPatience)
		}
		return h.explain(cutShort(err))
	}
	h.conn = seal(h.tls)
	var err error
	h.identity, err = creds.Peer(h.tls.ConnectionState())
	return err
}

// isOwn tells whether it is this end that has ended TLS's handshake, with an alert, and not the other or the connection.
func isOwn(err error) bool {
	oe, ok := errors.AsType[*net.OpError](err)
	return err != io.EOF && err != io.ErrUnexpectedEOF && (!ok || oe.Op == "local error")
}

// refusePlain tells an end that speaks no TLS that this one does. The name is none of its business.
func (h *handshake) refusePlain() error {
	own := h.hello()
	own.name = ""
	v := verdict{linkTLS, "it wants TLS and a certificate of its mesh, and what came was neither"}
	if _, err := h.conn.Write(append(own.encode(), v.encode()...)); err == nil {
		h.decided = true
		if h.flow == nil {
			_ = closeWrite(h.conn)
		}
		h.drain(refusedPatience)
	}
	return &verdictError{verdict: verdict{linkTLS, "the other end speaks no TLS"}}
}

// explain says what an error of the handshake means for the user.
func (h *handshake) explain(err error) error {
	if re, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(re.RecordHeader[:]) == helloMagic[:len(re.RecordHeader)] {
		return &verdictError{verdict: verdict{linkTLS, "it speaks no TLS: it has no Credentials, and this node has"}, remote: true}
	}
	c := h.node.set.Credentials
	if c == nil {
		return err
	}
	err = c.Explain(err)
	if _, known := errors.AsType[*ca.Error](err); !known && strings.Contains(err.Error(), "tls: ") {
		return fmt.Errorf("TLS has failed, as if somebody on the way had changed what passed: %w", err)
	}
	return err
}

// prefixConn is a connection some of whose bytes were read already.
type prefixConn struct {
	net.Conn
	first []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
