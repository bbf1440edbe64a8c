package astranet

import (
	"net"
	"sync"
	"sync/atomic"
)

// flowing is a connection on which a Write does not wait for the other end while the handshake goes on. Who refuses the other says so while
// that may still be sending, such as the rest of TLS's first flight: on a carrier without a buffer, such as net.Pipe, both would
// wait until the time is up, and neither get to know why.
type flowing struct {
	net.Conn
	settled atomic.Bool // Writes wait as usual

	mu    sync.Mutex
	idle  sync.Cond // its lock is mu
	queue []byte    // what is to be written: a few records
	busy  bool      // a goroutine writes
	err   error
}

// newFlowing makes one of c. Settle must be called when the handshake is done.
func newFlowing(c net.Conn) *flowing {
	f := &flowing{Conn: c}
	f.idle.L = &f.mu
	return f
}

// isBuffered tells whether a Write to a connection is known not to wait for the other end, as long as it is small.
func isBuffered(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

func (f *flowing) Write(p []byte) (int, error) {
	if f.settled.Load() {
		return f.Conn.Write(p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	f.queue = append(f.queue, p...)
	if !f.busy {
		f.busy = true
		go f.flush()
	}
	return len(p), nil
}

func (f *flowing) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) > 0 && f.err == nil {
		p := f.queue
		f.queue = nil
		f.mu.Unlock()
		_, err := f.Conn.Write(p)
		f.mu.Lock()
		f.err = err
	}
	f.busy = false
	f.idle.Broadcast()
}

// settle waits until all is written. From then on Writes wait.
func (f *flowing) settle() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy {
		f.idle.Wait()
	}
	f.settled.Store(true)
	return f.err
}
