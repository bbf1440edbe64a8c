package cases

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// open measures short streams: opened, a request, an answer, closed by both ends.
func open(atOnce int) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		// The buffers are kept, so that allocations are the peer's, apart from one for the server's goroutine.
		bufs := sync.Pool{New: func() any { return new([pingSize]byte) }}
		e.serve(func(c net.Conn) {
			defer c.Close()
			buf := bufs.Get().(*[pingSize]byte)
			defer bufs.Put(buf)
			if _, err := io.ReadFull(c, buf[:]); err == nil {
				c.Write(buf[:]) // the other end notices an error
			}
		})
		var count atomic.Int64
		for range atOnce {
			e.wg.Go(func() { e.fail(e.openAll(&count)) })
		}
		s, err := e.steady(&count)
		return Values{"rate": s.rate(), "cpu": 1e6 * s.cpuEach(), "allocs": s.allocs / s.n}, err
	}
}

func (e *env) openAll(count *atomic.Int64) error {
	buf := make([]byte, pingSize)
	for {
		select {
		case <-e.stop:
			return nil
		default:
		}
		c, err := e.net.Dial()
		if err != nil {
			return err
		}
		err = roundTrip(c, buf)
		c.Close()
		if err != nil {
			return err
		}
		count.Add(1)
	}
}
