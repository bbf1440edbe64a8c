package cli

import (
	"context"
	"sync"

	"github.com/virtnet/virtnet"
)

// A tally is how many there are of something. One goroutine at a time may wait for none to be left, while others count.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // is closed when n is 0; nil unless somebody waits
}

func (t *tally) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait returns when there is none, or ctx ends.
func (t *tally) wait(ctx context.Context) {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	none := make(chan struct{})
	t.none = none
	t.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// countedConn is a connection that tells when it is closed, once or more often. Its other methods are the connection's
// own, so that the kernel copies where it can.
type countedConn struct {
	*virtnet.Conn
	closed func()
}

func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
