package cases

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

const pingSize = 64

// ping measures messages that go there and back, one at a time on each stream.
func ping(streams int) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		e.serve(e.echo)
		var p pinger
		for range streams {
			c, err := e.dial()
			if err != nil {
				return nil, err
			}
			e.wg.Go(func() { e.fail(p.run(c)) })
		}
		if err := e.warmUp(&p.count); err != nil {
			return nil, err
		}
		p.times.reset()
		s, err := e.watch(&p.count, e.time)
		return Values{
			"rate":   s.rate(),
			"cpu":    1e6 * s.cpuEach(),
			"allocs": s.allocs / s.n,
			"p50":    micros(p.times.quantile(0.5)),
			"p99":    micros(p.times.quantile(0.99)),
		}, err
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// echo sends back what comes.
func (e *env) echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, pingSize)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return // the other end notices
		}
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// pinger counts and times round trips, of several streams together.
type pinger struct {
	count atomic.Int64
	times histogram
}

// run makes round trips until an error.
func (p *pinger) run(c net.Conn) error {
	buf := make([]byte, pingSize)
	for last := time.Now(); ; {
		if err := roundTrip(c, buf); err != nil {
			return err
		}
		now := time.Now()
		p.times.add(now.Sub(last))
		p.count.Add(1)
		last = now
	}
}

func roundTrip(c net.Conn, buf []byte) error {
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}
