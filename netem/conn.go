package netem

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one end of a connection, as the core uses it. It shapes what this end sends: as long as the link has no rules and
// nothing is on the way, a Write goes straight to the carrier; otherwise into a queue (flow.go), from where it is
// delivered to the carrier when it is due. What this end receives was shaped by the other.
//
// A conn at rest has no goroutine, no timer and no queue. One that has something on the way has a timer, and one that is
// delivering has a goroutine, which writes to the carrier and nothing else.
type conn struct {
	carrier net.Conn
	member  *member
	link    *Link // to the other end

	// Guarded by link.mu.
	prev, next *conn

	// Constant.
	number uint64 // on the link, among those of its role
	role   role

	// direct is how many Writes are straight in the carrier, or about to look whether they may be. Whoever delivers
	// waits until it is 0; and queued, which is set before that is looked at, keeps others from going there. Both
	// are atomic because Write looks at them without a lock.
	direct atomic.Int32
	queued atomic.Bool

	mu       sync.Mutex // never held while waiting, or in Read or Write of the carrier. What follows is guarded by it
	closing  bool       // Close was called
	finished bool       // the carrier is closed
	writeEnd bool       // CloseWrite was called, and its end is on the way
	severed  bool       // nothing is delivered any more
	late     bool       // the carrier has the write deadline
	dead     bool       // the carrier has failed: nothing arrives any more, and a Close has nothing to wait for
	out      *flow      // nil until there is something for it
}

var _ net.Conn = (*conn)(nil)

// role is which end of a connection it is.
type role uint8

const (
	dialler role = iota
	accepter
)

func newConn(m *member, carrier net.Conn, l *Link, dialled bool) *conn {
	r := accepter
	if dialled {
		r = dialler
	}
	c := l.newConn(m, carrier, r)
	if l.shaped.Load() {
		c.mu.Lock()
		c.live()
		c.mu.Unlock()
	}
	return c
}

// NetConn returns the carrier.
func (c *conn) NetConn() net.Conn { return c.carrier }

func (c *conn) LocalAddr() net.Addr  { return c.carrier.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.carrier.RemoteAddr() }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.carrier.Read(p)
	if err != nil {
		err = c.end(err, true)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.direct.Add(1)
	if c.link.shaped.Load() || c.queued.Load() {
		c.leave()
		return c.send(p)
	}
	n, err := c.carrier.Write(p)
	c.leave()
	if err != nil {
		err = c.end(err, false)
	}
	return n, err
}

// leave says that a Write is out of the carrier.
func (c *conn) leave() {
	if c.direct.Add(-1) == 0 && c.queued.Load() {
		c.kick()
	}
}

// end is what an error of the carrier means.
func (c *conn) end(err error, reading bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := c.out; {
	case c.closing:
		return net.ErrClosed
	case f != nil && reading && f.readFault != nil:
		return f.readFault
	case f != nil && !reading && f.fault != nil:
		return f.fault
	}
	if err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.dead = true
	}
	return err
}

var past = time.Unix(1, 0)

// Close closes this end. What is on the way still arrives, and then the end.
func (c *conn) Close() error {
	crash := c.member.net.crashOf(c.link.from)
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closing = true
	switch crash {
	case crashReset:
		c.mu.Unlock()
		c.reset()
		return nil
	case crashSilent:
		c.sever()
	}
	if c.finished {
		c.mu.Unlock()
		return nil
	}
	if c.dead || c.member.down.Load() || !c.link.shaped.Load() && !c.queued.Load() {
		c.finish()
		c.mu.Unlock()
		return c.carrier.Close()
	}
	defer c.mu.Unlock()
	c.flow().writers.Broadcast()
	c.put(nil, endClose)
	// The carrier stays open for what is on the way, but nobody on this end shall wait in it.
	_ = c.carrier.SetReadDeadline(past)
	if c.direct.Load() > 0 {
		c.late = true
		_ = c.carrier.SetWriteDeadline(past)
	}
	return nil
}

// finish is called with mu held by who is about to close the carrier.
func (c *conn) finish() {
	c.finished = true
	if c.out != nil {
		c.out.drop()
		if c.out.lifetime != nil {
			c.out.lifetime.Stop()
		}
	}
	c.link.remove(c)
}

// abort ends the connection at once, and what is on the way is lost. close closes the carrier.
func (c *conn) abort(fault, readFault error, closeCarrier func() error) {
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		return
	}
	c.flow().fault, c.out.readFault = fault, readFault
	c.finish()
	c.mu.Unlock()
	_ = closeCarrier()
}

// reset ends the connection as a crash does: both ends see a reset.
func (c *conn) reset() { c.abort(errReset, errReset, c.resetCarrier) }

func (c *conn) resetCarrier() error {
	switch r := c.carrier.(type) {
	case interface{ Reset() error }:
		return r.Reset()
	case interface{ SetLinger(sec int) error }:
		_ = r.SetLinger(0)
	}
	return c.carrier.Close()
}

// CloseWrite ends what this end sends, once what is on the way has arrived.
func (c *conn) CloseWrite() error {
	hc, ok := c.carrier.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return net.ErrClosed
	case c.out != nil && c.out.fault != nil:
		return c.out.fault
	case c.writeEnd:
		return nil
	}
	if !c.link.shaped.Load() && !c.queued.Load() {
		return hc.CloseWrite()
	}
	c.writeEnd = true
	c.flow().writers.Broadcast()
	c.put(nil, endWrite)
	return nil
}

// CloseRead ends reading, at once.
func (c *conn) CloseRead() error {
	if hc, ok := c.carrier.(interface{ CloseRead() error }); ok {
		return hc.CloseRead()
	}
	return errors.ErrUnsupported
}

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	return c.carrier.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	f := c.flow()
	f.deadline = t
	f.writers.Broadcast()
	if f.running {
		return nil // what is delivered has no deadline
	}
	c.late = !t.IsZero()
	return c.carrier.SetWriteDeadline(t)
}

// live starts the connection's lifetime as the rules have it. It is called with mu held.
func (c *conn) live() {
	if c.out != nil && c.out.lifetime != nil {
		c.out.lifetime.Stop()
		c.out.lifetime = nil
	}
	if d := c.link.Rules().ResetAfter; d > 0 && !c.finished {
		c.flow().lifetime = time.AfterFunc(d, c.reset)
	}
}

// cutOff closes the connection: the other end reads what has arrived, and then the end.
func (c *conn) cutOff() { c.abort(errPipe, io.EOF, c.carrier.Close) }
