package cases

import (
	"io"
	"net"
	"sync/atomic"
)

// loaded measures small messages beside bulk, and what the bulk loses by them. The first byte of a stream says which of
// the two it is.
func loaded(e *env) (Values, error) {
	const bulk, small = 'b', 's'
	var got atomic.Int64
	e.serve(func(c net.Conn) {
		var kind [1]byte
		_, err := io.ReadFull(c, kind[:])
		switch {
		case err != nil:
			e.fail(err)
			c.Close()
		case kind[0] == bulk:
			e.fail(readBulk(c, &got))
			c.Close()
		default:
			e.echo(c)
		}
	})
	if err := e.writeBulk(bulk); err != nil {
		return nil, err
	}
	alone, err := e.steady(&got)
	if err != nil {
		return nil, err
	}

	c, err := e.dial()
	if err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte{small}); err != nil {
		return nil, err
	}
	var p pinger
	e.wg.Go(func() { e.fail(p.run(c)) })
	if err := e.warmUp(&p.count); err != nil {
		return nil, err
	}
	p.times.reset()
	was := p.count.Load()
	beside, err := e.watch(&got, e.time)
	if err != nil {
		return nil, err
	}
	if err := e.moved(&p.count, was); err != nil {
		return nil, err
	}
	return Values{
		"p99":  micros(p.times.quantile(0.99)),
		"p50":  micros(p.times.quantile(0.5)),
		"bulk": beside.rate() / megabyte,
		"kept": beside.rate() / alone.rate(),
	}, nil
}
