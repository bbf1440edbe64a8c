package xnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakes returns a fake listener and the Listener made of it.
func fakes() (*fakeListener, *ctxListener) {
	f := newFakeListener()
	return f, WithCtxL(f).(*ctxListener)
}

// TestAcceptInOrder also checks that l.Accept is called only while somebody waits.
func TestAcceptInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		defer l.Close()
		var results [3]chan accepted
		for i := range results {
			results[i] = make(chan accepted, 1)
			go func() {
				conn, err := l.Accept(t.Context())
				results[i] <- accepted{conn, err}
			}()
			synctest.Wait()
		}
		for i := range results {
			conn := newFakeConn()
			f.next <- accepted{conn, nil}
			if got := <-results[i]; got.conn != conn || got.err != nil {
				t.Errorf("Accept %d returned %v, want the connection that came as number %d", i, got, i)
			}
		}
		synctest.Wait()
		select {
		case f.next <- accepted{}:
			t.Error("Accept of the underlying listener is called with nobody waiting")
		default:
		}
	})
}

func TestAcceptCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		defer l.Close()
		other := started(t, l, func() (net.Conn, error) { return l.Accept(t.Context()) }, 1)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := l.Accept(ctx)
		wantOpError(t, err, "accept", "fake", context.DeadlineExceeded)
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("Accept took %v, want 1s", d)
		}
		if got, want := err.Error(), "accept fake α:1: context deadline exceeded"; got != want {
			t.Errorf("error %q, want %q", got, want)
		}

		// The other one is as it was.
		synctest.Wait()
		if n := waiting(l); n != 1 {
			t.Errorf("%d Accepts wait, want 1", n)
		}
		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		if got := <-other; got.conn != conn {
			t.Errorf("the other Accept returned %v, want the connection", got)
		}
	})
}

// TestAcceptKeeps checks that what comes after a cancelled Accept comes out of the next.
func TestAcceptKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		result := started(t, l, func() (net.Conn, error) { return l.Accept(ctx) }, 1)
		cancel()
		wantOpError(t, (<-result).err, "accept", "fake", context.Canceled)

		_, err := l.Accept(ctx)
		wantOpError(t, err, "accept", "fake", context.Canceled)

		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		synctest.Wait()
		// A result beats a cancellation.
		if got, err := l.Accept(ctx); got != conn || err != nil {
			t.Errorf("Accept = %v, %v, want the kept connection", got, err)
		}
		_, err = l.Accept(ctx)
		wantOpError(t, err, "accept", "fake", context.Canceled)
	})
}

// TestAcceptDropsLateErrors checks that an error with nobody waiting is nobody's.
func TestAcceptDropsLateErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		result := started(t, l, func() (net.Conn, error) { return l.Accept(ctx) }, 1)
		cancel()
		<-result
		f.next <- accepted{nil, syscall.EMFILE}
		synctest.Wait()

		result = started(t, l, func() (net.Conn, error) { return l.Accept(t.Context()) }, 1)
		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		if got := <-result; got.conn != conn || got.err != nil {
			t.Errorf("Accept = %v, want the connection", got)
		}
	})
}

// TestAcceptErrors checks that an error goes to one Accept, and the listener goes on.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		defer l.Close()
		results := started(t, l, func() (net.Conn, error) { return l.Accept(t.Context()) }, 2)
		full := &net.OpError{Op: "accept", Net: "fake", Err: syscall.EMFILE}
		f.next <- accepted{nil, full}
		if got := <-results; got.err != full {
			t.Errorf("Accept failed with %v, want the listener's own error", got.err)
		}
		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		if got := <-results; got.conn != conn || got.err != nil {
			t.Errorf("Accept = %v, want the connection", got)
		}
	})
}

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		results := started(t, l, func() (net.Conn, error) { return l.Accept(t.Context()) }, 20)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for range 20 {
			wantOpError(t, (<-results).err, "accept", "fake", net.ErrClosed)
		}
		_, err := l.Accept(t.Context())
		wantOpError(t, err, "accept", "fake", net.ErrClosed)
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		<-f.closed
		// The bubble ends only if no goroutine is left.
	})
}

// TestListenerCloseKept checks that nobody waits for ever on a connection that was kept.
func TestListenerCloseKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := fakes()
		ctx, cancel := context.WithCancel(t.Context())
		result := started(t, l, func() (net.Conn, error) { return l.Accept(ctx) }, 1)
		cancel()
		<-result
		conn := newFakeConn()
		f.next <- accepted{conn, nil}
		synctest.Wait()
		l.Close()
		<-conn.closed
	})
}

// lateListener returns a connection from an Accept that Close interrupts.
type lateListener struct {
	*fakeListener
	conn net.Conn
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.closed
	return l.conn, nil
}

func TestListenerCloseLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newFakeConn()
		l := WithCtxL(&lateListener{newFakeListener(), conn}).(*ctxListener)
		result := started(t, l, func() (net.Conn, error) { return l.Accept(t.Context()) }, 1)
		l.Close()
		wantOpError(t, (<-result).err, "accept", "fake", net.ErrClosed)
		<-conn.closed
	})
}

// TestAcceptLosesNothing dials while Accepts are being cancelled: each connection must come out once.
func TestAcceptLosesNothing(t *testing.T) {
	n := NetPlain("tcp")
	defer n.Close()
	l := listen(t, n, "127.0.0.1:0")
	const count = 300
	ids := make(chan byte, count)
	ctx, stop := context.WithCancel(bounded(t))
	var accepting sync.WaitGroup
	for range 4 {
		accepting.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				actx, cancel := context.WithTimeout(ctx, time.Duration(i%5)*100*time.Microsecond)
				conn, err := l.Accept(actx)
				cancel()
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
					continue
				}
				var id [1]byte
				if _, err := io.ReadFull(conn, id[:]); err != nil {
					t.Error(err)
				}
				conn.Close()
				ids <- id[0]
			}
		})
	}
	for i := range count {
		conn := dial(t, n, l)
		if _, err := conn.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 256)
	for range count {
		got[next(t, ids)]++
	}
	stop()
	accepting.Wait()
	want := append(bytes.Repeat([]byte{2}, count-256), bytes.Repeat([]byte{1}, 512-count)...)
	if !bytes.Equal(got, want) {
		t.Errorf("connections came out this often: %v", got)
	}
}
