package lonet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/virtnet/virtnet"
)

// dialer makes connections without keep-alives: on one machine none is lost without a word.
var dialer = net.Dialer{KeepAlive: -1, Control: connectAhead}

var (
	errBadReply = errors.New("protocol error: invalid dial reply")

	// errDropped says that a connection ended without a reply, and that the process at its other end lives: it was
	// taken for a stranger who says nothing, or the process is closing.
	errDropped = errors.New("the connection was dropped without a reply")
)

const (
	// redials is how often a dial that was dropped is tried again: where strangers crowd in faster than this process
	// gets the CPU, it may be dropped before it has sent its request.
	redials = 5
	// redialAfter is how long it waits first; each time twice as long.
	redialAfter = time.Millisecond
)

// VNetDial connects to the process of dst's host and shakes hands with it.
func (e *engine) VNetDial(ctx context.Context, src, dst *virtnet.Addr, osladdr string) (net.Conn, *virtnet.Addr, error) {
	conn, accepted, err := e.dialAt(ctx, src, dst, osladdr)
	for n := 0; err == errDropped; n++ {
		switch {
		case n == redials:
			err = virtnet.ErrConnRefused
		case !sleep(ctx, redialAfter<<n):
			err = ctx.Err()
		default:
			conn, accepted, err = e.dialAt(ctx, src, dst, osladdr)
		}
	}
	switch {
	case err == nil:
		e.registry.put(dst.Host, osladdr)
	case ctx.Err() == nil: // osladdr was remembered, here or by a dial at the same time, or is old by a moment
		e.registry.drop(dst.Host, osladdr)
		fresh, qerr := e.registry.Registry.Query(ctx, dst.Host)
		switch {
		case qerr == nil && fresh != osladdr:
			return e.VNetDial(ctx, src, dst, fresh)
		case errors.Is(qerr, virtnet.ErrNoHost) && err != virtnet.ErrConnRefused:
			return nil, nil, qerr // but a dial that waits is refused when its host closes
		}
	}
	return conn, accepted, err
}

// sleep waits for d. It is false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dialAt is VNetDial at an address, once. The error may be errDropped.
func (e *engine) dialAt(ctx context.Context, src, dst *virtnet.Addr, osladdr string) (net.Conn, *virtnet.Addr, error) {
	c, err := dialer.DialContext(ctx, "tcp4", osladdr)
	if err != nil {
		return nil, nil, e.dialError(ctx, dst, osladdr, err)
	}
	conn := c.(*net.TCPConn)
	accepted, surplus, err := e.outgoing(ctx, src, dst, osladdr, conn)
	if err != nil {
		_ = conn.SetLinger(0) // a reset says more clearly than an end of file that the dial was given up
		_ = conn.Close()
		return nil, nil, e.dialError(ctx, dst, osladdr, err)
	}
	return withSurplus(conn, surplus), accepted, nil
}

// outgoing is the dialler's side of the handshake. It returns the address that accepted. It also returns what was
// read behind the reply: nothing, unless the acceptor spells strings in another way than we do.
func (e *engine) outgoing(ctx context.Context, src, dst *virtnet.Addr, osladdr string, conn *net.TCPConn) (accepted *virtnet.Addr, surplus []byte, _ error) {
	buf := lineBuffers.Get().(*lineBuffer)
	defer lineBuffers.Put(buf)

	// Most replies come at once, so what is for others costs little until it is needed.
	interrupt := func() { _ = conn.SetDeadline(aLongTimeAgo) }
	proceed := context.AfterFunc(ctx, interrupt)
	gone := false
	var suspect later
	suspect.start(&e.dialling, func(ctx context.Context) {
		if alive, err := e.registry.Alive(ctx, dst.Host, osladdr); err == nil && !alive {
			gone = true
			interrupt()
		}
	})

	_, err := conn.Write(request{e.network, src.String(), dst.String()}.append(buf[:0]))
	n := 0
	if err == nil {
		least := reply{network: e.network, accepted: dst.Host + ":1"}.append(buf[:0])
		n, err = readLine(conn, buf, 0, len(least))
	}
	suspect.stop(func() {})
	switch {
	case !proceed():
		return nil, nil, ctx.Err() // the deadline is being set, so the connection can't be used
	case gone:
		return nil, nil, &goneError{dst.Host, osladdr}
	case err != nil:
		return nil, nil, err
	}
	line, surplus := splitLine(buf[:n])
	rep, ok := parseReply(line)
	if !ok {
		return nil, nil, errBadReply
	}
	accepted, err = rep.check(dst)
	return accepted, bytes.Clone(surplus), err
}

// dialError is what the user is told of a dial that failed.
func (e *engine) dialError(ctx context.Context, dst *virtnet.Addr, osladdr string, err error) error {
	if oe, ok := err.(*net.OpError); ok {
		err = oe.Err // its addresses are not those of the user's network
	}
	_, limited := ctx.Deadline()
	switch {
	case errors.Is(err, virtnet.ErrConnRefused), errors.Is(err, virtnet.ErrNoHost):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case limited && isTimeout(err): // package net looks at a context's deadline by its own clock
		return context.DeadlineExceeded
	case errors.Is(err, syscall.ECONNREFUSED) || ended(err):
		// The process of the host has ended its socket, or itself.
		switch {
		case e.registry.Gone(osladdr):
			return &goneError{dst.Host, osladdr}
		case ended(err):
			return errDropped
		}
		return virtnet.ErrConnRefused
	}
	return fmt.Errorf("lonet: connect %s: %w", osladdr, err)
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

// ended tells whether the connection ended before there was a reply.
func ended(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// goneError is the refusal of a dial to a host whose process is dead.
type goneError struct{ host, osladdr string }

func (e *goneError) Error() string {
	return fmt.Sprintf("%s: the process of host %q (%s) is gone", virtnet.ErrConnRefused, e.host, e.osladdr)
}

func (e *goneError) Unwrap() error { return virtnet.ErrConnRefused }
