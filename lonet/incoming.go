package lonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/virtnet/virtnet"
)

var (
	errLongLine  = errors.New("the line is too long")
	errNoRequest = errors.New("no request came")
	errGivenUp   = errors.New("the dialler has given up")

	// errNobodyWaits says that a dial has to wait for an Accept.
	errNobodyWaits = errors.New("BUG: no Accept waits")
)

// serveConn shakes hands on an incoming connection, and leaves it to the core or closes it. Where a dial has to
// wait for an Accept, it does so on a goroutine of its own.
func (e *engine) serveConn(conn *net.TCPConn) {
	in := incoming{engine: e, conn: conn}
	a, err := in.request()
	if err == errNobodyWaits {
		e.serving.Go(func() { in.answer(in.wait()) })
		return
	}
	in.answer(a, err)
}

// incoming is the acceptor's side of a handshake.
type incoming struct {
	*engine
	conn     *net.TCPConn
	src, dst *virtnet.Addr
	netconn  net.Conn // conn, with what came behind the request
	// mayEnd is set if payload came behind the request: then a dialler that ends its side may well wait for the
	// reply.
	mayEnd bool
}

// request reads the dial's request, and asks the core to decide about it. The error is errNobodyWaits if the
// dial has to wait for an Accept.
func (in *incoming) request() (*virtnet.Accept, error) {
	buf := lineBuffers.Get().(*lineBuffer)
	defer lineBuffers.Put(buf)

	var silent watched
	if !in.halfOpen.add(&silent, func() { _ = in.conn.Close() }) {
		return nil, net.ErrClosed
	}
	line, surplus, err := readLine(in.conn, buf)
	if !in.halfOpen.remove(&silent) {
		return nil, errNoRequest
	}
	switch {
	case err == errLongLine:
		return nil, errBadRequest
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoRequest, err)
	}
	req, ok := parseRequest(line)
	if !ok {
		return nil, errBadRequest
	}
	if in.src, in.dst, err = req.check(in.network); err != nil {
		return nil, err
	}
	in.netconn, in.mayEnd = withSurplus(in.conn, surplus), len(surplus) > 0
	if isGone(in.conn, in.mayEnd) {
		return nil, errGivenUp
	}
	a, err := in.notifier.VNetAccept(atOnce, in.src, in.dst, in.netconn)
	if errors.Is(err, context.Canceled) {
		err = errNobodyWaits
	}
	return a, err
}

// atOnce is a context under which VNetAccept does not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// wait lets the dial wait for an Accept, as long as its dialler waits. A dial whose dialler is seen to have
// given up by the time an Accept takes it never comes out of that.
func (in *incoming) wait() (*virtnet.Accept, error) {
	ctx, cancel := context.WithCancel(in.life)
	defer cancel()
	var watch later // most need not be watched
	watch.start(&in.waiting, func(context.Context) {
		if waitGone(in.conn, in.mayEnd) {
			cancel()
		}
	})
	a, err := in.notifier.VNetAccept(ctx, in.src, in.dst, in.netconn)
	if watch.stop(func() { _ = in.conn.SetReadDeadline(aLongTimeAgo) }) {
		_ = in.conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err == nil && isGone(in.conn, in.mayEnd):
		a.Ack <- errGivenUp
		return nil, errGivenUp
	case err != nil && ctx.Err() != nil && in.life.Err() == nil:
		return nil, errGivenUp
	}
	return a, err
}

// answer tells the dialler what has become of its dial.
func (in *incoming) answer(a *virtnet.Accept, err error) {
	if err == nil {
		_, err = in.write(reply{accepted: a.Addr.String()})
		a.Ack <- err
		if err == nil {
			return // the connection is the core's
		}
	} else if text, ok := refusal(err); ok {
		_ = in.conn.SetWriteDeadline(time.Now().Add(time.Second)) // it is one line into an empty buffer
		_, _ = in.write(reply{err: text})
	}
	_ = in.conn.Close()
	in.log.Debug("lonet: incoming", "network", in.network, "from", in.conn.RemoteAddr().String(), "err", shorten(err.Error()))
}

func (in *incoming) write(r reply) (int, error) {
	buf := lineBuffers.Get().(*lineBuffer)
	defer lineBuffers.Put(buf)
	r.network = in.network
	return in.conn.Write(r.append(buf[:0]))
}

// refusal is the text that tells a dialler why not. It is false if there is nobody to tell.
func refusal(err error) (text string, ok bool) {
	switch {
	case errors.Is(err, errNoRequest) || err == errGivenUp:
		return "", false
	case errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled):
		err = virtnet.ErrConnRefused // this end is going down
	}
	return err.Error(), true
}

// aLongTimeAgo is a deadline that interrupts what waits on a connection.
var aLongTimeAgo = time.Unix(1, 0)
