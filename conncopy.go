package virtnet

import (
	"io"
	"net"
)

// ReadFrom copies from r until EOF, as io.Copy does. On a network whose connections are the operating
// system's it lets the kernel copy (splice, sendfile) where it can: from a file, or from another such
// connection.
//
// The error is nil at EOF, a *net.OpError as Write returns it (or as Read of r does, if r is a Conn), or that of
// r, which a carrier may wrap in a *net.OpError as package net does.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	rf, ok := c.carrier.(io.ReaderFrom)
	if !ok || c.shapeable() { // nothing may go past the Shaper
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	src, from := source(r)
	n, err := rf.ReadFrom(from)
	if src == nil {
		return n, c.copyError("readfrom", err)
	}
	if limit, ok := r.(*io.LimitedReader); ok {
		limit.N = from.(*io.LimitedReader).N
	}
	return n, c.spliceError(src, err)
}

// WriteTo copies to w until EOF, as io.Copy does; see [Conn.ReadFrom]. The error is nil at EOF, a *net.OpError
// as Read returns it (or as Write of w does, if w is a Conn), or that of w, likewise.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if dst, ok := w.(*Conn); ok {
		return dst.ReadFrom(c)
	}
	wt, ok := c.carrier.(io.WriterTo)
	if !ok || c.shapeable() {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	n, err := wt.WriteTo(w)
	if down := c.downErr(); down != nil { // also if the shutdown looks like EOF
		return n, c.opError("writeto", down)
	}
	return n, c.copyError("writeto", err)
}

// source returns what a carrier is to read from in place of r: if r is a connection whose carrier is one the
// kernel can copy from, or a part of it, then that carrier, for package net knows its own types only. It also
// returns that connection.
func source(r io.Reader) (*Conn, io.Reader) {
	switch r := r.(type) {
	case *Conn:
		if r.spliceable() {
			return r, r.carrier
		}
	case *io.LimitedReader:
		if src, ok := r.R.(*Conn); ok && src.spliceable() {
			return src, &io.LimitedReader{R: src.carrier, N: r.N}
		}
	}
	return nil, r
}

// spliceable tells whether package net lets the kernel copy from the carrier.
func (c *Conn) spliceable() bool {
	switch c.carrier.(type) {
	case *net.TCPConn, *net.UnixConn:
		return !c.shapeable()
	}
	return false
}

// copyError is the error of a copy that the carrier made. What the other side says is kept.
func (c *Conn) copyError(op string, err error) error {
	if err == nil {
		return nil
	}
	err, _ = withoutLayers(err, c.carrier)
	return c.ioError(op, err)
}

// spliceError is the error of a copy from src that the two carriers made.
func (c *Conn) spliceError(src *Conn, err error) error {
	if down := src.downErr(); down != nil { // also if the shutdown looks like EOF
		return src.opError("read", down)
	}
	if err == nil {
		return nil
	}
	err, _ = withoutLayers(err, c.carrier)
	if cause, ok := withoutLayers(err, src.carrier); ok && c.downErr() == nil {
		return src.opError("read", cause)
	}
	return c.ioError("readfrom", err)
}

// withoutLayers takes off an error what the carrier has put around it: its addresses, which are not ours. It
// tells whether there was any.
func withoutLayers(err error, carrier net.Conn) (_ error, found bool) {
	for {
		oe, ok := err.(*net.OpError)
		if !ok || !sameAddr(oe.Source, carrier.LocalAddr()) || !sameAddr(oe.Addr, carrier.RemoteAddr()) {
			return err, found
		}
		err, found = oe.Err, true
	}
}

func sameAddr(a, b net.Addr) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Network() == b.Network() && a.String() == b.String()
}
