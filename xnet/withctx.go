package xnet

import (
	"container/list"
	"context"
	"net"
	"sync"
)

// WithCtxL returns l with an Accept that takes a context.
//
// It undoes [BindCtxL]: WithCtxL(BindCtxL(L, ctx)) is L itself; ctx is forgotten, since Accept has its own.
//
// Accepts are served in the order in which they came. Cancelling one loses no connection and disturbs no other:
// a connection that arrives with nobody waiting any more is kept for the next Accept, and closed by Close. An Accept that
// finds a kept connection returns it, even if its context is done. An error of l is returned by one
// Accept and the next tries again, so that the listener outlives what is temporary, such as EMFILE.
//
// Close closes l and fails all pending and later Accepts with net.ErrClosed. Whoever uses the returned
// Listener leaves l's own Accept and Close alone.
func WithCtxL(l net.Listener) Listener {
	if b, ok := l.(*boundListener); ok {
		return b.l
	}
	return newCtxListener(l, l.Addr().Network())
}

// ctxListener is a Listener on a net.Listener.
//
// A goroutine calls l.Accept and hands what comes to the Accepts that wait. It runs only while one waits, except that
// nothing wakes it from l.Accept when the last one is cancelled: then it stays until a connection arrives,
// which it keeps, or until Close. The deadline of those listeners that have one is no way to wake it: it
// would interrupt every Accept on the listener, and is not ours to change if l's owner uses it.
type ctxListener struct {
	l       net.Listener
	network string         // as errors name it
	loop    sync.WaitGroup // the goroutine

	mu        sync.Mutex // never held while waiting, or while calling l
	waiting   list.List  // of chan accepted with room for one: the Accepts that have got nothing yet, oldest first
	accepting bool       // the goroutine runs
	kept      net.Conn   // arrived with nobody waiting; or nil
	closed    bool
}

// accepted is what an Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

var _ Listener = (*ctxListener)(nil)

func newCtxListener(l net.Listener, network string) *ctxListener {
	return &ctxListener{l: l, network: network}
}

func (l *ctxListener) Accept(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	if conn := l.kept; conn != nil {
		l.kept = nil
		l.mu.Unlock()
		return conn, nil
	}
	err := ctx.Err()
	if l.closed {
		err = net.ErrClosed
	}
	if err != nil {
		l.mu.Unlock()
		return nil, l.acceptErr(err)
	}
	result := make(chan accepted, 1)
	place := l.waiting.PushBack(result)
	if !l.accepting {
		l.accepting = true
		l.loop.Go(l.accept)
	}
	l.mu.Unlock()

	select {
	case a := <-result:
		return a.conn, a.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	l.waiting.Remove(place) // nothing, if it has been served
	l.mu.Unlock()
	select {
	case a := <-result:
		return a.conn, a.err
	default:
		return nil, l.acceptErr(ctx.Err())
	}
}

// accept serves the Accepts that wait, until none does.
func (l *ctxListener) accept() {
	for more := true; more; {
		conn, err := l.l.Accept()
		l.mu.Lock()
		if front := l.waiting.Front(); front != nil {
			l.waiting.Remove(front).(chan accepted) <- accepted{conn, err}
			conn = nil
		} else if err == nil && !l.closed {
			l.kept, conn = conn, nil
		}
		more = l.waiting.Len() > 0
		l.accepting = more
		l.mu.Unlock()
		if err == nil && conn != nil {
			conn.Close()
		}
	}
}

// Close fails the pending Accepts by itself, whatever l does with the one it is in.
func (l *ctxListener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	closed := accepted{nil, l.acceptErr(net.ErrClosed)}
	for front := l.waiting.Front(); front != nil; front = l.waiting.Front() {
		l.waiting.Remove(front).(chan accepted) <- closed
	}
	kept := l.kept
	l.kept = nil
	l.mu.Unlock()

	err := l.l.Close()
	if kept != nil {
		kept.Close()
	}
	l.loop.Wait()
	return err
}

func (l *ctxListener) Addr() net.Addr { return l.l.Addr() }

// idle tells that no connection is here, or can come, that l.l's own Accept would miss.
func (l *ctxListener) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.accepting && l.kept == nil
}

func (l *ctxListener) acceptErr(err error) error {
	return &net.OpError{Op: "accept", Net: l.network, Addr: l.l.Addr(), Err: err}
}
