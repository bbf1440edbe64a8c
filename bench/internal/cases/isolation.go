package cases

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// The first byte of a stream says what its reader does.
const (
	unread = 'u' // nothing more
	read   = 'r' // read on
)

// fillSize is of the Writes that fill a stream: small, to see how much it takes.
const fillSize = 16 << 10

// isolation measures a stream beside full ones, whose readers never read.
func isolation(full int) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		var got, filled atomic.Int64
		e.serve(func(c net.Conn) {
			defer c.Close()
			var kind [1]byte
			if _, err := io.ReadFull(c, kind[:]); err != nil {
				e.fail(err)
				return
			}
			if kind[0] == read {
				e.fail(readBulk(c, &got))
				return
			}
			<-e.stop
		})
		for range full {
			if err := e.fill(&filled); err != nil {
				return nil, err
			}
		}
		if err := e.still(&filled); err != nil {
			return nil, err
		}
		if err := e.writeBulk(read); err != nil {
			return nil, err
		}
		s, err := e.steady(&got)
		v := bulkValues(s)
		v["blocked"] = float64(filled.Load()) / 1024 / float64(full)
		return v, err
	}
}

// fill opens a stream and writes to it, which at some time does not go on.
func (e *env) fill(filled *atomic.Int64) error {
	c, err := e.dial()
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte{unread}); err != nil {
		return err
	}
	e.wg.Go(func() {
		buf := make([]byte, fillSize)
		for {
			n, err := c.Write(buf)
			if err != nil {
				e.fail(err)
				return
			}
			filled.Add(int64(n))
		}
	})
	return nil
}

// still waits until count has not moved for a while.
func (e *env) still(count *atomic.Int64) error {
	while := min(e.time/2, 300*time.Millisecond)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n := count.Load()
		time.Sleep(while)
		if err := e.failed(); err != nil {
			return err
		}
		if count.Load() == n {
			return nil
		}
	}
	return stalled{"what nobody reads can be written for ever"}
}
