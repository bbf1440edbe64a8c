package cases

import (
	"io"
	"net"
	"sync/atomic"
)

const (
	bulkSize = 128 << 10 // of a Write and a Read
	megabyte = 1e6
)

// tput measures how fast bytes go through streams.
func tput(streams int, read func(net.Conn, *atomic.Int64) error) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		var got atomic.Int64
		e.serve(func(c net.Conn) {
			e.fail(read(c, &got))
			c.Close()
		})
		for range streams {
			if err := e.writeBulk(); err != nil {
				return nil, err
			}
		}
		s, err := e.steady(&got)
		return bulkValues(s), err
	}
}

func bulkValues(s span) Values {
	return Values{
		"rate":   s.rate() / megabyte,
		"cpu":    1e3 * s.cpuEach() * 100 * megabyte,
		"allocs": s.allocs / (s.n / bulkSize),
	}
}

// writeBulk opens a stream and writes to it for ever: first what is given, at once.
func (e *env) writeBulk(first ...byte) error {
	c, err := e.dial()
	if err != nil {
		return err
	}
	if len(first) > 0 {
		if _, err := c.Write(first); err != nil {
			return err
		}
	}
	e.wg.Go(func() {
		buf := make([]byte, bulkSize)
		for {
			if _, err := c.Write(buf); err != nil {
				e.fail(err)
				return
			}
		}
	})
	return nil
}

// readBulk adds what it reads to got. It returns an error at the latest when the environment is closed.
func readBulk(c net.Conn, got *atomic.Int64) error {
	buf := make([]byte, bulkSize)
	for {
		n, err := c.Read(buf)
		got.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// copyBulk is readBulk by io.Copy.
func copyBulk(c net.Conn, got *atomic.Int64) error {
	_, err := io.Copy((*adder)(got), c)
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// adder is a Writer that only counts.
type adder atomic.Int64

func (a *adder) Write(p []byte) (int, error) {
	(*atomic.Int64)(a).Add(int64(len(p)))
	return len(p), nil
}
