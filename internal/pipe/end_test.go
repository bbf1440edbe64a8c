package pipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// past is a deadline that has passed, in and out of a bubble.
var past = time.Unix(1, 0)

// ending is what can happen to a pipe a - b, and what the operations of a then return.
type ending struct {
	name        string
	end         func(a, b *Conn)
	read, write error // of a; nil where it isn't concerned
	unread      bool  // b cannot read what a has written
}

var endings = []ending{
	{"close", func(a, b *Conn) { a.Close() }, net.ErrClosed, net.ErrClosed, false},
	{"peer closes", func(a, b *Conn) { b.Close() }, io.EOF, errPipe, true},
	{"close write", func(a, b *Conn) { a.CloseWrite() }, nil, errPipe, false},
	{"peer closes write", func(a, b *Conn) { b.CloseWrite() }, io.EOF, nil, false},
	{"close read", func(a, b *Conn) { a.CloseRead() }, io.EOF, nil, false},
	{"peer closes read", func(a, b *Conn) { b.CloseRead() }, nil, errPipe, true},
	{"reset", func(a, b *Conn) { a.Reset() }, net.ErrClosed, net.ErrClosed, true},
	{"peer resets", func(a, b *Conn) { b.Reset() }, errReset, errReset, true},
	{"deadline", func(a, b *Conn) { a.SetDeadline(past) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, false},
	{"read deadline", func(a, b *Conn) { a.SetReadDeadline(past) }, os.ErrDeadlineExceeded, nil, false},
	{"write deadline", func(a, b *Conn) { a.SetWriteDeadline(past) }, nil, os.ErrDeadlineExceeded, false},
	{"deadline in an hour", func(a, b *Conn) {
		a.SetDeadline(time.Now().Add(time.Hour))
		time.Sleep(time.Hour)
	}, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, false},
	{"peer's deadline", func(a, b *Conn) { b.SetDeadline(past) }, nil, nil, false},
}

// orders are endings on top of one another: what waits ends by the first, but what comes later by the strongest.
var orders = []ending{
	{"half closed by the peer, then reset", func(a, b *Conn) {
		b.CloseWrite()
		b.CloseRead()
		b.Reset()
	}, errReset, errReset, true},
	{"closed by the peer, then reset", func(a, b *Conn) { b.Close(); b.Reset() }, io.EOF, errPipe, true},
	{"reset by the peer, then closed", func(a, b *Conn) { b.Reset(); a.Close() }, net.ErrClosed, net.ErrClosed, true},
	{"deadline, then closed by the peer", func(a, b *Conn) { a.SetDeadline(past); b.Close() },
		os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, true},
	{"deadline, then closed", func(a, b *Conn) { a.SetDeadline(past); a.Close() }, net.ErrClosed, net.ErrClosed, false},
}

type result struct {
	n   int
	err error
}

func (r result) String() string { return fmt.Sprintf("%d, %v", r.n, r.err) }

// start runs a Read or Write in a goroutine.
func start(f func([]byte) (int, error), p []byte) <-chan result {
	c := make(chan result, 1)
	go func() {
		n, err := f(p)
		c <- result{n, err}
	}()
	return c
}

// want checks that the operation has ended with want by the time that all are blocked, or waits if want is nil.
func want(t *testing.T, name string, c <-chan result, want *result) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-c:
		if want == nil {
			t.Errorf("%s: got %v, want it to wait", name, got)
		} else if got != *want {
			t.Errorf("%s: got %v, want %v", name, got, *want)
		}
	default:
		if want != nil {
			t.Errorf("%s: waits, want %v", name, *want)
		}
	}
}

// orWait is the result of an ending for an operation that has dealt with n bytes; nil, it waits, without an error.
func orWait(n int, err error) *result {
	if err == nil {
		return nil
	}
	return &result{n, err}
}

func TestEndingOfBlocked(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			forSizes(t, func(t *testing.T, size int) {
				synctest.Test(t, func(t *testing.T) {
					a, b := New(size)
					defer a.Close()
					defer b.Close()
					var reads, writes []<-chan result
					for range 3 {
						reads = append(reads, start(a.Read, make([]byte, 10)))
					}
					synctest.Wait()
					writes = append(writes, start(a.Write, make([]byte, size+7)))
					synctest.Wait()
					if n, err := b.Read(make([]byte, 3)); n != min(3, size+7) || err != nil {
						t.Fatalf("read: got %d, %v", n, err)
					}
					synctest.Wait()
					writes = append(writes, start(a.Write, make([]byte, size+7)))
					synctest.Wait()
					e.end(a, b)
					for _, c := range reads {
						want(t, "read", c, orWait(0, e.read))
					}
					// What the buffer takes counts as written.
					first := size + 3
					if e.unread {
						first = 3
					}
					want(t, "first write", writes[0], orWait(first, e.write))
					want(t, "second write", writes[1], orWait(0, e.write))
				})
			})
		})
	}
}

func TestEndingOfLater(t *testing.T) {
	for _, e := range slices.Concat(endings, orders) {
		t.Run(e.name, func(t *testing.T) {
			forSizes(t, func(t *testing.T, size int) {
				synctest.Test(t, func(t *testing.T) {
					a, b := New(size)
					defer a.Close()
					defer b.Close()
					e.end(a, b)
					want(t, "read", start(a.Read, make([]byte, 10)), orWait(0, e.read))
					want(t, "write", start(a.Write, make([]byte, size+1)), orWait(0, e.write))
					want(t, "empty write", start(a.Write, nil), &result{0, e.write})
				})
			})
		})
	}
}

// TestEndingWithData checks what becomes of bytes that are in the buffer when the connection ends.
func TestEndingWithData(t *testing.T) {
	all := []byte("data")
	for _, test := range []struct {
		name string
		end  func(a, b *Conn)
		data bool // b reads it
		err  error
	}{
		{"writer closes", func(a, b *Conn) { a.Close() }, true, io.EOF},
		{"writer closes write", func(a, b *Conn) { a.CloseWrite() }, true, io.EOF},
		{"writer closes read", func(a, b *Conn) { a.CloseRead(); a.Close() }, true, io.EOF},
		{"writer resets", func(a, b *Conn) { a.Reset() }, false, errReset},
		{"writer closes write, then resets", func(a, b *Conn) { a.CloseWrite(); a.Reset() }, false, errReset},
		{"reader closes", func(a, b *Conn) { b.Close() }, false, net.ErrClosed},
		{"reader closes read", func(a, b *Conn) { b.CloseRead() }, false, io.EOF},
		{"reader's deadline", func(a, b *Conn) { b.SetReadDeadline(past) }, false, os.ErrDeadlineExceeded},
		{"reader's deadline, then none", func(a, b *Conn) {
			a.Close()
			b.SetReadDeadline(past)
			b.SetReadDeadline(time.Time{})
		}, true, io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := New(100)
			a.Write(all)
			test.end(a, b)
			buf := make([]byte, 10)
			n, err := b.Read(buf)
			if test.data {
				if !bytes.Equal(buf[:n], all) || err != nil {
					t.Fatalf("got %q, %v, want %q", buf[:n], err, all)
				}
				n, err = b.Read(buf)
			}
			if n != 0 || err != test.err {
				t.Errorf("got %d, %v, want %v", n, err, test.err)
			}
			if b.in.r.state != open && b.in.buf != (buffer{}) {
				t.Error("the buffer keeps what nobody can read")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		text string
		is   []error
	}{
		{errPipe, "broken pipe", []error{syscall.EPIPE, io.ErrClosedPipe}},
		{errReset, "connection reset by peer", []error{syscall.ECONNRESET}},
	} {
		if test.err.Error() != test.text {
			t.Errorf("got %q, want %q", test.err, test.text)
		}
		for _, is := range test.is {
			if !errors.Is(test.err, is) {
				t.Errorf("%v: is not %v", test.err, is)
			}
		}
	}
}

func TestClosedTwice(t *testing.T) {
	for name, closer := range map[string]func(*Conn) error{"close": (*Conn).Close, "reset": (*Conn).Reset} {
		a, b := New(0)
		if err := a.CloseWrite(); err != nil {
			t.Error(err)
		}
		if err := a.CloseWrite(); err != nil {
			t.Errorf("second CloseWrite: %v", err)
		}
		if err := closer(a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, err := range map[string]error{
			"Close":            a.Close(),
			"Reset":            a.Reset(),
			"CloseRead":        a.CloseRead(),
			"CloseWrite":       a.CloseWrite(),
			"SetDeadline":      a.SetDeadline(past),
			"SetReadDeadline":  a.SetReadDeadline(past),
			"SetWriteDeadline": a.SetWriteDeadline(past),
		} {
			if err != net.ErrClosed {
				t.Errorf("%s after %s: got %v, want %v", what, name, err, net.ErrClosed)
			}
		}
		if err := b.Close(); err != nil {
			t.Errorf("peer after %s: %v", name, err)
		}
	}
}
