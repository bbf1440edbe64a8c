package lonet

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	e.halfOpen.take()
	in := &incoming{engine: e, conn: conn, buf: lineBuffers.Get().(*lineBuffer)}
	if !e.halfOpen.add(&in.silent, in.interrupt) {
		_ = conn.Close()
		e.halfOpen.leave()
		return false
	}
	err := in.readSoon()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.serving.Go(in.readLate)
		return false
	}
	woken, refused := in.decide(err)
	if refused {
		e.serving.Go(in.linger)
	}
	return woken
}

// incoming is the acceptor's side of a handshake.
type incoming struct {
	*engine
	conn   *net.TCPConn
	silent watched     // while the request is not there, and again while it lingers
	buf    *lineBuffer // what of it is there
	n      int

	src, dst *virtnet.Addr
	netconn  net.Conn // conn, with what came behind the request
	// mayEnd is set if payload came behind the request: then a dialler that ends its side may well wait for the
	// reply.
	mayEnd bool
}

// interrupt ends a read of conn. It does not wait.
func (in *incoming) interrupt() { _ = in.conn.SetReadDeadline(aLongTimeAgo) }

// read reads the request, or as much of it as there is before an error.
func (in *incoming) read(from io.Reader) (err error) {
	in.n, err = readLine(from, in.buf, in.n, maxLine)
	return err
}

// readSoon reads the request on the leader's goroutine. The error is os.ErrDeadlineExceeded if it doesn't come right
// behind its connection; where that has not been so lately, it isn't waited for at all.
func (in *incoming) readSoon() error {
	if in.lead.slow.Load() {
		return in.read(atHand{in.conn})
	}
	var hurry watched
	in.lead.hurry.add(&hurry, in.interrupt)
	err := in.read(in.conn)
	if !in.lead.hurry.remove(&hurry) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			in.lead.slow.Store(true)
		}
		_ = in.conn.SetReadDeadline(time.Time{})
		if !in.halfOpen.watching(&in.silent) { // it was dropped too, which the line above may have undone
			in.interrupt()
		}
	}
	return err
}

// readLate serves a connection whose request doesn't come right behind it.
func (in *incoming) readLate() {
	err := in.read(in.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) { // dropped; but if all has come meanwhile, it was not silent
		err = in.read(atHand{in.conn})
	}
	soon := time.Since(in.silent.since) < hurryAfter
	woken, refused := in.decide(err)
	if woken {
		in.VNetRecall() // the Accept may be the leader
		if soon {       // and not only somebody who wants the next to be waited for
			in.lead.slow.Store(false)
		}
	}
	if refused {
		in.linger()
	}
}

// decide asks the core about the dial, and answers it. err is that of read. It tells whether that has woken an
// Accept, and whether the dialler was refused, so that the caller has to let the connection linger. Otherwise in is no
// longer the caller's.
func (in *incoming) decide(err error) (woken, refused bool) {
	a, err := in.request(err)
	if err == errNobodyWaits {
		in.halfOpen.leave()
		in.serving.Go(in.answerLate)
		return false, false
	}
	if woken, refused = in.answer(a, err); !refused {
		in.halfOpen.leave()
	}
	return woken, refused
}

// answerLate serves a dial that has to wait for an Accept.
func (in *incoming) answerLate() {
	_, refused := in.answer(in.wait())
	in.VNetRecall()
	if refused {
		in.halfOpen.take()
		in.linger()
	}
}

// request asks the core to decide about the dial. The error is errNobodyWaits if the dial has to wait for an
// Accept.
func (in *incoming) request(err error) (*virtnet.Accept, error) {
	defer lineBuffers.Put(in.buf)
	if !in.halfOpen.remove(&in.silent) {
		_ = in.conn.SetReadDeadline(time.Time{}) // it was dropped, perhaps too late to matter
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
	if watch.stop(in.interrupt) {
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
// connection or because the dialler could not be told, and whether the dialler was refused: then the connection is still
// open.
func (in *incoming) answer(a *virtnet.Accept, err error) (woken, refused bool) {
	if err == nil {
		_, err = in.write(reply{accepted: a.Addr.String()})
		a.Ack <- err
		if err == nil {
			return true, false // the connection is the core's
		}
	} else if text, ok := refusal(err); ok {
		_ = in.conn.SetWriteDeadline(time.Now().Add(time.Second)) // it is one line into an empty buffer
		_, werr := in.write(reply{err: text})
		refused = werr == nil && in.conn.CloseWrite() == nil
	}
	if !refused {
		_ = in.conn.Close()
	}
	in.log.Debug("lonet: incoming", "network", in.network, "from", in.conn.RemoteAddr().String(), "err", shorten(err.Error()))
	return a != nil, refused
}

const (
	// lingerTime and lingerBytes are how long, and for how much, a connection that was refused stays for its other
	// end to close it.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// linger closes a connection that was refused, but not before its other end has, for a time: the system resets a
// connection that is closed with unread input, or gets more, and that may destroy the reply before it is read. It takes
// one place in the crowd meanwhile, which the caller has taken, and can be dropped.
func (in *incoming) linger() {
	defer in.halfOpen.leave()
	defer in.conn.Close()
	_ = in.conn.SetReadDeadline(time.Now().Add(lingerTime)) // first: to be dropped ends it sooner
	if in.halfOpen.add(&in.silent, in.interrupt) {
		_, _ = io.CopyN(io.Discard, in.conn, lingerBytes)
		in.halfOpen.remove(&in.silent)
	}
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

// aLongTimeAgo is a deadline that interrupts what waits on a connection. It is past whatever becomes of the system's
// clock, as what comes from time.Now is compared by a clock of its own.
var aLongTimeAgo = time.Now().Add(-time.Hour)
