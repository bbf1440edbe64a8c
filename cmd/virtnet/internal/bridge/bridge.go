// Package bridge joins two connections, so that their far ends talk as if they had one between them: a virtual
// one and an ordinary one, say. [Join] is for two connections. [Guard], [Reset] and [CloseWrite] are what it ends them
// with, for those who join a connection to something else.
//
// A far end that ends what it sends (EOF) has said all it wanted to. Whatever else ends a connection is an error, and must
// never look like an end of file to the other far end: TCP has the reset for it. A carrier without one, such as a Unix
// socket, can only be closed: its far end reads EOF, and what it writes fails.
package bridge

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// drainTime is how long what a broken connection had still sent may take to reach the other, which is
// reset then. It has arrived here already, so this matters only if the other does not read.
const drainTime = 250 * time.Millisecond

// A Result is what Join tells about two connections when they have ended.
type Result struct {
	AtoB, BtoA int64 // bytes that went from one to the other
	// Err is why they ended; nil if both sides had ended what they sent, and all of it went to the other. It is
	// the first error of a read or write, where package net's without the layers that copying adds; or the context's
	// cause; or errors.ErrUnsupported, when a side has ended what it sent, and the other has no half close.
	Err error
}

// Join copies from a to b and from b to a until both directions have ended, or ctx ends, and closes both. When one side
// ends what it sends, so does the other (half close), and the other direction goes on. When one side fails, or ctx ends,
// the other is reset; what a failed side had sent before still gets through where it can.
//
// Bytes are moved by io.Copy, so the kernel moves them where both are the operating system's (splice(2), from and to a
// connection of lonet too); for this a and b must not hide their ReadFrom and WriteTo. A connection that wraps
// another shall have its CloseWrite, and NetConn, which is how [Guard] and [Reset] find the one below.
//
// While Join runs both are under [Guard]: a process that is killed resets both. It takes one goroutine besides the
// caller's. Nobody else may use the connections.
func Join(ctx context.Context, a, b net.Conn) Result {
	j := &joint{a: &side{Conn: a}, b: &side{Conn: b}}
	Guard(a)
	Guard(b)
	stop := context.AfterFunc(ctx, func() { j.cancel(context.Cause(ctx)) })
	defer stop()
	var r Result
	var back sync.WaitGroup
	back.Go(func() { r.BtoA = j.pass(j.b, j.a) })
	r.AtoB = j.pass(j.a, j.b)
	back.Wait()
	r.Err = j.end()
	return r
}

// A joint is two connections that are joined. One goroutine copies in each direction.
type joint struct {
	a, b *side

	// mu is held while an end of file is passed on: it is decided at once whether that is a good end.
	mu   sync.Mutex
	err  error // why they end; the first cause wins
	over bool  // both directions have ended
}

// A side is one of the two connections.
type side struct {
	net.Conn
	ended bool // nothing more is sent to it. Guarded by the joint's mu.
}

// pass copies from one to the other, and passes on how that ends. It returns the number of bytes.
func (j *joint) pass(from, to *side) int64 {
	n, err := io.Copy(to.Conn, from.Conn) // of the connections themselves, which know how to do it best
	if err == nil {
		err = j.passEnd(from, to)
	}
	if err != nil {
		gone := isGone(from.Conn)
		if gone {
			err = plain("read", from.Conn, err)
		} else {
			err = plain("write", to.Conn, err)
		}
		if j.fail(err) {
			j.breakUp(from, to, gone)
		}
	}
	return n
}

// plain is an error of a connection, without what a copy has put around it.
func plain(op string, c net.Conn, err error) error {
	if _, ok := err.(*net.OpError); !ok {
		return err
	}
	for {
		switch e := err.(type) {
		case *net.OpError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		case *fs.PathError: // of a file, that is a side
			return err
		default:
			return &net.OpError{Op: op, Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
		}
	}
}

// passEnd tells to that from has ended what it sends.
func (j *joint) passEnd(from, to *side) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return nil // to will be reset
	}
	// A reset is told once: if the goroutine that writes has it, a read at the same time ends as at the end of
	// the file.
	if !from.ended && isGone(from.Conn) {
		return &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	}
	to.ended = true
	err := CloseWrite(to.Conn)
	if from.ended && isUnix(to.Conn) && errors.Is(err, syscall.ENOTCONN) {
		err = nil // to has said all it wanted to, and gone; with TCP it has been reset, and what came last is lost
	}
	return err
}

// fail says why both end. It is false if that is known already.
//
// The system tells of a reset once, to the read or to the write; a write that comes too late for it gets EPIPE, and may
// yet be the first to arrive here. The reset is what happened.
func (j *joint) fail(err error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		if errors.Is(j.err, syscall.EPIPE) && errors.Is(err, syscall.ECONNRESET) {
			j.err = err
		}
		return false
	}
	j.err = err
	return true
}

// breakUp ends both when a copy has failed, because from is gone, or else because of to: then what that had sent
// before still reaches from.
func (j *joint) breakUp(from, to *side, gone bool) {
	if gone {
		j.reset()
		return
	}
	soon := time.Now().Add(drainTime)
	_ = to.SetReadDeadline(soon)
	_ = from.SetWriteDeadline(soon)
}

// cancel ends both because of err, if they have not ended yet.
func (j *joint) cancel(err error) {
	j.mu.Lock()
	over := j.over
	if !over && j.err == nil {
		j.err = err
	}
	j.mu.Unlock()
	if !over {
		j.reset()
	}
}

// end ends both when both directions have ended, and returns why they did.
func (j *joint) end() error {
	j.mu.Lock()
	j.over = true
	err := j.err
	j.mu.Unlock()
	if err != nil {
		j.reset()
		return err
	}
	_ = Close(j.a.Conn)
	_ = Close(j.b.Conn)
	return nil
}

func (j *joint) reset() {
	Reset(j.a.Conn)
	Reset(j.b.Conn)
}

// isGone tells whether a connection that one direction has just ended on is known to have been reset or closed,
// rather than half closed by the other end.
func isGone(c net.Conn) bool {
	hc, ok := c.(interface{ CloseRead() error })
	if !ok || isUnix(c) {
		return false
	}
	err := hc.CloseRead() // fails where there is no connection any more
	return err != nil && !errors.Is(err, errors.ErrUnsupported)
}

// isUnix tells whether a connection is a Unix socket. Some systems call one not connected as soon as the other end
// has closed it, in good order too.
func isUnix(c net.Conn) bool { return c.LocalAddr().Network() == "unix" }
