package cases

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// openers is how many goroutines open the streams of idle.
const openers = 64

// idle measures what streams cost that are open and at rest, and how long it takes to open them.
func idle(streams int) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		// Room for both ends of all, made before the memory is measured.
		conns := make([]net.Conn, 2*streams)
		var opened, accepted atomic.Int64
		goroutines := runtime.NumGoroutine()
		before := memoryInUse()
		m := begin(&accepted)

		e.serve(func(c net.Conn) {
			var b [1]byte
			if _, err := io.ReadFull(c, b[:]); err != nil {
				e.fail(err)
				return
			}
			if _, err := c.Write(b[:]); err != nil {
				e.fail(err)
				return
			}
			conns[streams+int(accepted.Add(1))-1] = c
		})
		err := e.openIdle(conns[:streams], &opened)
		s := m.end(&accepted)
		if err == nil {
			err = e.failed()
		}
		if err != nil {
			return nil, err
		}

		time.Sleep(200 * time.Millisecond) // acknowledgements may still be under way
		used := memoryInUse() - before
		goroutines = runtime.NumGoroutine() - goroutines
		runtime.KeepAlive(conns)
		n := float64(streams)
		return Values{
			"bytes":      float64(used) / n,
			"seconds":    s.time.Seconds(),
			"cpu":        micros(s.cpu) / n,
			"allocs":     s.allocs / n,
			"goroutines": float64(goroutines) / n,
		}, nil
	}
}

// openIdle opens a stream for each of conns, and lets a byte go there and back on it.
func (e *env) openIdle(conns []net.Conn, next *atomic.Int64) error {
	done := make(chan error, openers)
	for range openers {
		go func() {
			var b [1]byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(conns) {
					done <- nil
					return
				}
				c, err := e.net.Dial()
				if err == nil {
					err = roundTrip(c, b[:])
				}
				if err != nil {
					done <- fmt.Errorf("stream %d: %w", i+1, err)
					return
				}
				conns[i] = c
			}
		}()
	}
	var first error
	for range openers {
		if err := <-done; first == nil {
			first = err
		}
	}
	return first
}

// memoryInUse is what the heap's live objects and the stacks take.
func memoryInUse() int64 {
	for range 3 { // pools are emptied by the second collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
