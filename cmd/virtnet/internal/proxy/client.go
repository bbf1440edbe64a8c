package proxy

import (
	"container/list"
	"io"
	"net"
	"sync"
	"time"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/bridge"
)

// A client is a connection from an ordinary program. In the end it must leave the crowd.
type client struct {
	net.Conn
	crowd *crowd
	first []byte // was read to see what it speaks, and is read once more
	left  sync.Once

	// Guarded by the crowd's mu.
	quiet      *list.Element // in the crowd's list; nil if it is busy, or gone
	quietSince time.Time
}

// Read reads what comes, from the first byte on. One goroutine at a time may call it.
func (c *client) Read(b []byte) (int, error) {
	if len(c.first) > 0 && len(b) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// Close closes it in good order. Whatever else ends it, such as the end of the process, is a reset.
func (c *client) Close() error { return bridge.Close(c.Conn) }

// CloseWrite lets net/http end an answer in such a way that it arrives, whatever is still unread.
func (c *client) CloseWrite() error { return bridge.CloseWrite(c.Conn) }

// leave closes the connection and takes it out of the crowd, once.
func (c *client) leave() {
	c.left.Do(func() {
		_ = c.Close()
		c.crowd.leave(c)
	})
}

// farewell sends the last words, and waits a moment for the client to have read them: closing a connection with
// something unread resets it, and what was sent may be lost.
func (c *client) farewell(words []byte) {
	_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Write(words); err != nil || c.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 64<<10))
}
