package virtnet

import (
	"errors"
	"io"
	"net"
)

// ReadFrom copies from r until EOF, as io.Copy does. On a network whose connections are the operating
// system's it lets the kernel copy (splice, sendfile) where it can: from a file, or from another such
// connection.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	rf, ok := c.carrier.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	src, limit := sourceConn(r)
	if src == nil || !spliceable(src.carrier) {
		n, err := rf.ReadFrom(r)
		return n, c.copyError("readfrom", r, err)
	}
	if limit == nil {
		n, err := rf.ReadFrom(src.carrier)
		return n, c.spliceError(src, err)
	}
	carrierLimit := &io.LimitedReader{R: src.carrier, N: limit.N}
	n, err := rf.ReadFrom(carrierLimit)
	limit.N = carrierLimit.N
	return n, c.spliceError(src, err)
}

// WriteTo copies to w until EOF, as io.Copy does; see [Conn.ReadFrom].
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if dst, ok := w.(*Conn); ok {
		return dst.ReadFrom(c)
	}
	wt, ok := c.carrier.(io.WriterTo)
	if !ok || !spliceable(c.carrier) {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	n, err := wt.WriteTo(w)
	return n, c.copyError("writeto", nil, err)
}

// sourceConn returns the connection that r is, or is a part of.
func sourceConn(r io.Reader) (*Conn, *io.LimitedReader) {
	if c, ok := r.(*Conn); ok {
		return c, nil
	}
	if limit, ok := r.(*io.LimitedReader); ok {
		c, _ := limit.R.(*Conn)
		return c, limit
	}
	return nil, nil
}

// spliceable tells whether package net lets the kernel copy from the carrier.
func spliceable(carrier net.Conn) bool {
	switch carrier.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// copyError is the error of a copy between this connection and something else, whose own errors stay.
func (c *Conn) copyError(op string, _ io.Reader, err error) error {
	if err == nil {
		if down := c.downErr(); down != nil {
			return c.opError(op, down)
		}
		return nil
	}
	var oe *net.OpError
	if errors.As(err, &oe) && c.downErr() == nil {
		return err
	}
	return c.ioError(op, err)
}

// spliceError is the error of a copy from src, made by the two carriers alone. An end that is down is the
// reason for whatever they say, the source's EOF included.
func (c *Conn) spliceError(src *Conn, err error) error {
	if down := src.downErr(); down != nil {
		return src.opError("read", down)
	}
	if down := c.downErr(); err != nil && down != nil {
		return c.opError("readfrom", down)
	}
	if err != nil {
		return c.opError("readfrom", bare(err))
	}
	return nil
}
