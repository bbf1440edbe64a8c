package netem

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet"
)

// conn is what a connection goes through, at one of its ends, from when its link was first asked anything. It shapes what
// this end sends: as long as the link has no rules and nothing is on the way, a Write goes straight to the carrier;
// otherwise into a queue (flow.go), from where it is delivered to the carrier when it is due. What this end receives
// was shaped by the other.
//
// Writes that are in the carrier when something is delivered stay there: the carrier lets one come after the other.
//
// A conn at rest has no goroutine, no timer and no queue. One that has something on the way has a timer, and one that is
// delivering has a goroutine, which writes to the carrier and nothing else.
type conn struct {
	// Constant.
	carrier       net.Conn
	member        *member
	link          *Link // to the other end
	local, remote *virtnet.Addr
	number        uint64 // see Link.number

	// queued is set while there is something that a Write has to go behind. Write looks at it without a lock, so it is atomic.
	queued atomic.Bool

	mu       sync.Mutex // never held while waiting, or in Read or Write of the carrier. What follows is guarded by it
	closing  bool       // Close was called
	finished bool       // the carrier is closed
	writeEnd bool       // CloseWrite was called
	severed  bool       // nothing is delivered any more
	dead     bool       // the carrier has failed: nothing arrives any more, and a Close has nothing to wait for
	vanished bool       // this end's host has vanished: nothing is delivered but the answer of a later one
	orphan   bool       // the other's has
	other    *conn      // the orphan, if this one has vanished
	out      *flow      // nil until there is something for it
}

var _ virtnet.Shaped = (*conn)(nil)

// role is which end of a connection it is.
type role uint8

const (
	dialler role = iota
	accepter
)

func newConn(m *member, core *virtnet.Conn, l *Link, number uint64) *conn {
	c := &conn{carrier: core.NetConn(), member: m, link: l, number: number}
	c.local, c.remote = addrOf(core.LocalAddr()), addrOf(core.RemoteAddr())
	l.add(c)
	if l.shaped.Load() {
		c.mu.Lock()
		c.live()
		c.mu.Unlock()
	}
	if m.net.vanished.Load() {
		m.net.pair(c)
	}
	return c
}

func (c *conn) Write(p []byte) (int, error) {
	if c.link.shaped.Load() || c.queued.Load() {
		return c.send(p)
	}
	n, err := c.carrier.Write(p)
	if err != nil {
		err = c.Cause(bare(err), false)
	}
	return n, err
}

// bare takes the carrier's addresses off an error.
func bare(err error) error {
	if oe, ok := err.(*net.OpError); ok {
		return oe.Err
	}
	return err
}

// Cause is what an error of the carrier means.
func (c *conn) Cause(err error, reading bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := c.out; {
	case c.closing:
		return net.ErrClosed
	case c.vanished: // and is about to go down; what the carrier says may be that the other end's host has vanished, too
		return virtnet.ErrHostDown
	case f != nil && reading && f.readFault != nil:
		return f.readFault
	case f != nil && !reading && f.fault != nil:
		return f.fault
	}
	if err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) && (reading || !c.writeEnd) {
		c.dead = true
	}
	return err
}

var past = time.Unix(1, 0)

// Close closes this end. What is on the way still arrives, and then the end.
func (c *conn) Close() error {
	crash := c.member.net.crashOf(c.local)
	if crash == crashSilent {
		c.member.net.abandon([]*conn{c}) // if it is so new that the crash has not found it
	}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closing = true
	if crash == crashReset {
		c.mu.Unlock()
		c.reset()
		return nil
	}
	if c.finished {
		c.mu.Unlock()
		return nil
	}
	if c.dead || c.member.down.Load() || !c.link.shaped.Load() && !c.queued.Load() {
		lost := c.lost()
		c.finish()
		c.mu.Unlock()
		c.forget()
		return c.end(lost)
	}
	defer c.mu.Unlock()
	if c.vanished {
		c.flow().drop()
	} else {
		c.put(nil, endClose)
		c.out.writers.Broadcast()
	}
	// The carrier stays open for what is on the way, but nobody on this end shall wait in it.
	_ = c.carrier.SetReadDeadline(past)
	_ = c.carrier.SetWriteDeadline(past)
	return nil
}

// finish is called with mu held by who is about to call forget, and to close the carrier, without it.
func (c *conn) finish() {
	c.finished = true
	if c.out != nil {
		c.out.drop()
		if c.out.lifetime != nil {
			c.out.lifetime.Stop()
		}
	}
}

// forget has nobody find the connection any more.
func (c *conn) forget() {
	c.link.remove(c)
	if c.member.net.vanished.Load() {
		c.member.net.mourn(c)
	}
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
	c.forget()
	_ = closeCarrier()
}

// goDown ends the connection with its sub-network.
func (c *conn) goDown() {
	c.mu.Lock()
	lost := c.lost()
	c.mu.Unlock()
	c.abort(net.ErrClosed, net.ErrClosed, func() error { return c.end(lost) })
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

// lost tells whether something is on the way that will not arrive if the connection ends now. It is called with mu held.
func (c *conn) lost() bool { return c.out != nil && c.out.bytes > 0 }

// end closes the carrier. If something is lost the other end sees a reset: what it has read is not all.
func (c *conn) end(lost bool) error {
	if lost {
		return c.resetCarrier()
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
	c.writeEnd = true
	if !c.link.shaped.Load() && !c.queued.Load() {
		return hc.CloseWrite()
	}
	c.flow().writers.Broadcast()
	c.put(nil, endWrite)
	return nil
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
	return c.carrier.SetWriteDeadline(t) // for Writes that are in it; what is delivered has no deadline
}

// live starts the connection's lifetime as the rules have it. It is called with mu held.
func (c *conn) live() {
	if c.out != nil && c.out.lifetime != nil {
		c.out.lifetime.Stop()
		c.out.lifetime = nil
	}
	if d := c.link.present().ResetAfter; d > 0 && !c.finished {
		c.flow().lifetime = time.AfterFunc(d, c.reset)
	}
}

// cutOff closes the connection: the other end reads what has arrived, and then the end.
func (c *conn) cutOff() { c.abort(errPipe, io.EOF, c.carrier.Close) }
