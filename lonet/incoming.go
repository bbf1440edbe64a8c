package lonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// serveConn shakes hands on an incoming connection, and leaves it to the core or closes it. It tells whether that
// has woken an Accept. What has to wait, for a request that is late or for an Accept, does so on a goroutine of its
// own, and then the answer is false.
func (e *engine) serveConn(conn *net.TCPConn) bool {
	in := &incoming{engine: e, conn: conn, buf: lineBuffers.Get().(*lineBuffer)}
	if !e.halfOpen.add(&in.silent, func() { _ = conn.Close() }) {
		_ = conn.Close()
		return false
	}
	if e.lead.slow.Load() {
		e.serving.Go(in.readLate)
		return false
	}
	var hurry watched
	e.lead.hurry.add(&hurry, func() { _ = conn.SetReadDeadline(aLongTimeAgo) })
	err := in.read()
	if !e.lead.hurry.remove(&hurry) {
		_ = conn.SetReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			e.lead.slow.Store(true)
			e.serving.Go(in.readLate)
			return false
		}
	}
	return in.decide(err)
}

// incoming is the acceptor's side of a handshake.
type incoming struct {
	*engine
	conn   *net.TCPConn
	silent watched     // until the request is there
	buf    *lineBuffer // what of it is there
	n      int

	src, dst *virtnet.Addr
	netconn  net.Conn // conn, with what came behind the request
	// mayEnd is set if payload came behind the request: then a dialler that ends its side may well wait for the
	// reply.
	mayEnd bool
}

// read reads the request, or as much of it as there is before an error.
func (in *incoming) read() (err error) {
	in.n, err = readLine(in.conn, in.buf, in.n, maxLine)
	return err
}

// readLate serves a connection whose request doesn't come right behind it.
func (in *incoming) readLate() {
	err := in.read()
	soon := time.Since(in.silent.since) < hurryAfter
	if in.decide(err) {
		in.VNetRecall() // the Accept may be the leader
		if soon {       // and not only somebody who wants the next to be waited for
			in.lead.slow.Store(false)
		}
	}
}

// decide asks the core about the dial, and answers it. err is that of read. It tells whether that has woken an
// Accept.
func (in *incoming) decide(err error) bool {
	a, err := in.request(err)
	if err == errNobodyWaits {
		in.serving.Go(func() { in.answer(in.wait()); in.VNetRecall() })
		return false
	}
	return in.answer(a, err)
}

// request asks the core to decide about the dial. The error is errNobodyWaits if the dial has to wait for an
// Accept.
func (in *incoming) request(err error) (*virtnet.Accept, error) {
	defer lineBuffers.Put(in.buf)
	if !in.halfOpen.remove(&in.silent) {
		return nil, errNoRequest
	}
	switch {
	case err == errLongLine:
		return nil, errBadRequest
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoRequest, err)
	}
	line, surplus := splitLine(in.buf[:in.n])
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

// answer tells the dialler what has become of its dial. It tells whether that has woken an Accept, with the
// connection or because the dialler could not be told.
func (in *incoming) answer(a *virtnet.Accept, err error) bool {
	if err == nil {
		_, err = in.write(reply{accepted: a.Addr.String()})
		a.Ack <- err
		if err == nil {
			return true // the connection is the core's
		}
	} else if text, ok := refusal(err); ok {
		_ = in.conn.SetWriteDeadline(time.Now().Add(time.Second)) // it is one line into an empty buffer
		_, _ = in.write(reply{err: text})
	}
	_ = in.conn.Close()
	in.log.Debug("lonet: incoming", "network", in.network, "from", in.conn.RemoteAddr().String(), "err", shorten(err.Error()))
	return a != nil
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
