package astranet

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// mostPlain is how many bytes go into a record of TLS.
	mostPlain = 16 << 10
	// atOnce is about how many bytes of records go to the connection in one call.
	atOnce = 64 << 10
	// keptQueue is how large an empty outbox is kept.
	keptQueue = 128 << 10
)

// sealed is a TLS connection whose Write can be interrupted by a deadline, and tells exactly what it has taken, as that of a TCP
// connection can: a *tls.Conn is of no use after that. So mux has who writes write to it, with no goroutine in between.
//
// Records go to an outbox, which never fails them. What an interrupted Write has encrypted stays there, and goes with the next Write. It
// is told as taken but for the last byte, lest the next Write does not come; that drops the byte then.
type sealed struct {
	*tls.Conn
	out   *outbox
	again bool   // the first byte of the next Write was taken by the last
	stage []byte // memory for what is put together
	one   net.Buffers
}

// belowTLS returns what TLS is to run on, so that it can be sealed: if c takes Writes that are interrupted.
func belowTLS(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return &outbox{Conn: c}
	}
	return c
}

// seal makes a TLS connection a sealed one, when its handshake is done, if it runs on what belowTLS has made for that.
func seal(c *tls.Conn) net.Conn {
	below := c.NetConn()
	if p, ok := below.(*prefixConn); ok {
		below = p.Conn
	}
	if out, ok := below.(*outbox); ok {
		return newSealed(c, out)
	}
	return c
}

func newSealed(c *tls.Conn, out *outbox) *sealed {
	out.hold()
	return &sealed{Conn: c, out: out}
}

func (s *sealed) Write(p []byte) (int, error) {
	s.one = append(s.one[:0], p)
	vec := s.one
	n, err := s.WriteBuffers(&vec)
	s.one[0] = nil
	return int(n), err
}

// WriteBuffers writes all that is in vec. What was not taken is there then. Package mux calls it.
func (s *sealed) WriteBuffers(vec *net.Buffers) (n int64, err error) {
	if err := s.out.flush(); err != nil {
		return 0, err
	}
	at, left := cursor{vec: *vec}, 0
	for _, p := range *vec {
		left += len(p)
	}
	if s.again && left > 0 {
		s.again = false
		at.skip(1)
		n, left = 1, left-1
	}
	// Records of equal length: a short one costs as much as a long one.
	for i := (left + mostPlain - 1) / mostPlain; i > 0 && err == nil; i-- {
		var p []byte
		p, s.stage = at.next((left+i-1)/i, s.stage)
		if _, err = s.Conn.Write(p); err != nil {
			break
		}
		left, n = left-len(p), n+int64(len(p))
		if i == 1 || s.out.size() >= atOnce {
			err = s.out.flush()
		}
	}
	if n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		s.again = true
		n--
	}
	took := cursor{vec: *vec}
	took.skip(int(n))
	*vec = took.rest()
	return n, err
}

// cursor is a place in a list of slices, which it leaves as it is.
type cursor struct {
	vec net.Buffers
	off int // in the first
}

// skip goes on by n bytes, over empty slices too.
func (c *cursor) skip(n int) {
	c.off += n
	for len(c.vec) > 0 && c.off >= len(c.vec[0]) {
		c.off -= len(c.vec[0])
		c.vec = c.vec[1:]
	}
}

// next returns the next n bytes in one piece, and goes on behind them. stage is memory for those of several slices.
func (c *cursor) next(n int, stage []byte) (p, kept []byte) {
	c.skip(0)
	if first := c.vec[0][c.off:]; len(first) >= n {
		c.skip(n)
		return first[:n], stage
	}
	stage = stage[:0]
	for len(stage) < n {
		p := c.vec[0][c.off:]
		p = p[:min(len(p), n-len(stage))]
		stage = append(stage, p...)
		c.skip(len(p))
	}
	return stage, stage
}

// rest is what comes behind. It changes the list.
func (c *cursor) rest() net.Buffers {
	if c.off > 0 {
		c.vec[0] = c.vec[0][c.off:]
	}
	return c.vec
}

// Close ends the connection, and what is in progress on it.
func (s *sealed) Close() error {
	if !s.out.release() {
		_ = s.out.Conn.Close() // a Write hangs
	}
	return s.Conn.Close()
}

// CloseWrite ends one direction. No Write may be in progress.
func (s *sealed) CloseWrite() error {
	s.out.release()
	return s.Conn.CloseWrite()
}

// SetWriteDeadline is that of the connection below.
func (s *sealed) SetWriteDeadline(t time.Time) error { return s.out.Conn.SetWriteDeadline(t) }

// outbox is the connection below TLS.
type outbox struct {
	net.Conn
	mu    sync.Mutex
	holds bool   // what is written waits for flush
	queue []byte // records
}

// hold has what is written wait for flush.
func (o *outbox) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds = true
}

// release ends that. It is false if a Write of the connection is in progress.
func (o *outbox) release() bool {
	if !o.mu.TryLock() {
		return false
	}
	defer o.mu.Unlock()
	o.holds = false
	return true
}

func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.holds && len(o.queue) == 0 {
		return o.Conn.Write(p)
	}
	o.queue = append(o.queue, p...)
	if o.holds {
		return len(p), nil
	}
	return len(p), o.flushLocked()
}

// size is how many bytes wait.
func (o *outbox) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// flush writes what waits.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *outbox) flushLocked() error {
	if len(o.queue) == 0 {
		return nil
	}
	n, err := o.Conn.Write(o.queue)
	o.queue = o.queue[:copy(o.queue, o.queue[n:])]
	if len(o.queue) == 0 && cap(o.queue) > keptQueue {
		o.queue = nil
	}
	return err
}
