package lonet

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/virtnet/virtnet"
)

var (
	errLongLine = errors.New("the line is too long")
	errSilent   = errors.New("no request came in time")
	errGivenUp  = errors.New("the dialler has given up")
)

// serveConn shakes hands on an incoming connection, and leaves it to the core or closes it.
func (e *engine) serveConn(conn *net.TCPConn) {
	if err := e.incoming(conn); err != nil {
		_ = conn.Close()
		e.log.Debug("lonet: incoming", "network", e.network, "from", conn.RemoteAddr().String(), "err", shorten(err.Error()))
	}
}

// incoming is the acceptor's side of the handshake. If it fails, the connection remains to be closed.
func (e *engine) incoming(conn *net.TCPConn) error {
	buf := lineBuffers.Get().(*lineBuffer)
	defer lineBuffers.Put(buf)

	silent, ok := e.halfOpen.add(conn)
	if !ok {
		return net.ErrClosed
	}
	line, surplus, err := readLine(conn, buf)
	if !e.halfOpen.remove(silent) {
		return errSilent
	}
	if err == errLongLine {
		return e.refuse(conn, errBadRequest)
	} else if err != nil {
		return err // there is nobody to answer
	}
	req, ok := parseRequest(line)
	if !ok {
		return e.refuse(conn, errBadRequest)
	}
	src, dst, err := req.check(e.network)
	if err != nil {
		return e.refuse(conn, err)
	}
	a, err := e.accept(src, dst, conn, surplus)
	if err == errGivenUp {
		return err
	} else if err != nil {
		return e.refuse(conn, err)
	}
	_, err = conn.Write(reply{network: e.network, accepted: a.Addr.String()}.append(buf[:0]))
	a.Ack <- err
	return err
}

// refuse tells the dialler why not, and returns that.
func (e *engine) refuse(conn *net.TCPConn, err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		err = virtnet.ErrConnRefused // this end is going down
	}
	var buf lineBuffer
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // it is one line into an empty buffer
	_, _ = conn.Write(reply{network: e.network, err: err.Error()}.append(buf[:0]))
	return err
}

// atOnce is a context under which VNetAccept does not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// accept asks the core to decide about a dial. A dial whose dialler is seen to have given up by the time an
// Accept takes it never comes out of that.
func (e *engine) accept(src, dst *virtnet.Addr, conn *net.TCPConn, surplus []byte) (*virtnet.Accept, error) {
	// A dialler that has sent payload behind its request and then ends its side may well wait for the reply.
	mayEnd := len(surplus) > 0
	if isGone(conn, mayEnd) {
		return nil, errGivenUp
	}
	netconn := withSurplus(conn, surplus)
	a, err := e.notifier.VNetAccept(atOnce, src, dst, netconn)
	if errors.Is(err, context.Canceled) {
		a, err = e.waitAccept(src, dst, conn, netconn, mayEnd)
	}
	return a, err
}

// watchAfter is how long a dial waits for an Accept before its dialler is watched: most needn't be.
const watchAfter = 10 * time.Millisecond

// waitAccept lets a dial wait for an Accept, as long as its dialler waits.
func (e *engine) waitAccept(src, dst *virtnet.Addr, conn *net.TCPConn, netconn net.Conn, mayEnd bool) (*virtnet.Accept, error) {
	ctx, cancel := context.WithCancel(e.life)
	defer cancel()
	watch := runLater(watchAfter, func() {
		if waitGone(conn, mayEnd) {
			cancel()
		}
	})
	a, err := e.notifier.VNetAccept(ctx, src, dst, netconn)
	if watch.stop(func() { _ = conn.SetReadDeadline(aLongTimeAgo) }) {
		_ = conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err == nil && isGone(conn, mayEnd):
		a.Ack <- errGivenUp
		return nil, errGivenUp
	case err != nil && ctx.Err() != nil && e.life.Err() == nil:
		return nil, errGivenUp
	}
	return a, err
}

// aLongTimeAgo is a deadline that interrupts what waits on a connection.
var aLongTimeAgo = time.Unix(1, 0)
