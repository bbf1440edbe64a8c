package astranet

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

func (n *node) Attach(conn io.ReadWriter) {
	n.start()
	if err := n.attach(conn); err != nil {
		n.log.Warn("an attached connection has ended", "why", err)
	}
}

// attach runs a link over a stream until it ends.
func (n *node) attach(rw io.ReadWriter) error {
	c, ok := rw.(net.Conn)
	if !ok {
		c = newBridge(rw)
	}
	if err := n.mayLink("attach a connection with", c.RemoteAddr()); err != nil {
		_ = c.Close()
		return err
	}
	ended := make(chan error, 1)
	if !n.spawn(func() { ended <- n.runAttached(c) }) {
		_ = c.Close()
		return ErrNodeClosed
	}
	return <-ended
}

func (n *node) runAttached(c net.Conn) error {
	dialled, err := toss(n.ctx, c, n.set.handshake())
	if err != nil {
		_ = c.Close()
		if n.ctx.Err() != nil {
			return ErrNodeClosed
		}
		return err
	}
	h := &handshake{node: n, conn: c, dialled: dialled, standby: true}
	l, err := h.run(n.ctx)
	if err != nil {
		return err
	}
	err = l.serve(nil)
	l.finish()
	return err
}

const (
	tossMagic = "attached"
	tossSize  = len(tossMagic) + 16
)

// toss decides which end of an attached stream counts as the one that has dialled: TLS needs one. Each end sends 16
// random bytes behind a word; the lower ones do. The other end may attach much later, say when somebody has typed a password; so
// the time begins with the first byte.
func toss(ctx context.Context, c net.Conn, limit time.Duration) (dialled bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
	}()
	var ours, theirs [tossSize]byte
	copy(ours[:], tossMagic)
	_, _ = rand.Read(ours[len(tossMagic):]) // it never fails
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(ours[:])
		wrote <- err
	}()
	if _, err := io.ReadFull(c, theirs[:1]); err != nil {
		return false, cutShort(err)
	}
	late := time.AfterFunc(limit, func() { cancel(&lateError{"attached the connection", limit}) })
	defer late.Stop()
	if _, err := io.ReadFull(c, theirs[1:]); err != nil {
		return false, cutShort(err)
	}
	switch who := bytes.Compare(ours[:], theirs[:]); {
	case !bytes.HasPrefix(theirs[:], []byte(tossMagic)):
		return false, fmt.Errorf("the other end is no node that attaches: it begins with %q", theirs[:])
	case who == 0:
		return false, errors.New("the stream returns what is sent on it")
	default:
		return who < 0, <-wrote
	}
}
