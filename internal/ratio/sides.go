package ratio

import (
	"net"
	"sync"
	"testing"
)

// Dials dials and closes connections, from that many goroutines.
func Dials(b *testing.B, parallel int, dial func() (net.Conn, error)) Side {
	return func(n int) {
		var wg sync.WaitGroup
		for g := range parallel {
			wg.Go(func() {
				for i := g; i < n; i += parallel {
					c, err := dial()
					if err != nil {
						b.Error(err)
						return
					}
					c.Close()
				}
			})
		}
		wg.Wait()
	}
}

// PingPong makes round trips of 64 bytes from c to s and back.
func PingPong(b *testing.B, c, s net.Conn) Side {
	b.Cleanup(func() { c.Close(); s.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64)
	return func(n int) {
		for range n {
			if _, err := c.Write(buf); err != nil {
				b.Error(err)
				return
			}
			if _, err := c.Read(buf); err != nil { // 64 bytes come in one piece
				b.Error(err)
				return
			}
		}
	}
}

// Stream makes Writes of one size on c, and reads them on s with a buffer of another.
func Stream(b *testing.B, c, s net.Conn, size, read int) Side {
	b.Cleanup(func() { c.Close(); s.Close() })
	buf := make([]byte, size)
	got := make([]byte, read)
	return func(n int) {
		done := make(chan error, 1)
		go func() {
			for left := n * size; left > 0; {
				m, err := s.Read(got)
				if err != nil {
					done <- err
					return
				}
				left -= m
			}
			done <- nil
		}()
		for range n {
			if _, err := c.Write(buf); err != nil {
				b.Error(err)
				return
			}
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

// Pair returns the two ends of a connection.
func Pair(b *testing.B, dial, accept func() (net.Conn, error)) (c, s net.Conn) {
	b.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	dialled := make(chan result, 1)
	go func() {
		c, err := dial()
		dialled <- result{c, err}
	}()
	s, err := accept()
	if err != nil {
		b.Fatal(err)
	}
	r := <-dialled
	if r.err != nil {
		b.Fatal(r.err)
	}
	return r.c, s
}

// CloseAll accepts connections and closes them, until accept fails.
func CloseAll(accept func() (net.Conn, error)) {
	for {
		c, err := accept()
		if err != nil {
			return
		}
		c.Close()
	}
}
