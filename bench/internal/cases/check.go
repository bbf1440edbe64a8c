package cases

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// check sends pseudo-random bytes both ways on streams at once, in writes of many sizes, and compares what arrives.
func check(streams, size int) func(*env) (Values, error) {
	return func(e *env) (Values, error) {
		e.serve(func(c net.Conn) {
			defer c.Close()
			if err := mirror(c, size); err != nil {
				e.fail(fmt.Errorf("the server's end: %w", err))
			}
		})
		done := make(chan error, streams)
		var verified atomic.Int64
		for i := range streams {
			go func() {
				done <- e.checkStream(uint64(i), size)
				verified.Add(int64(size))
			}()
		}
		for range streams {
			if err := <-done; err != nil {
				return nil, err
			}
		}
		return Values{"bytes": 2 * float64(verified.Load()) / megabyte}, e.failed()
	}
}

// mirror sends back what comes, as much as size.
func mirror(c net.Conn, size int) error {
	_, err := io.CopyN(c, c, int64(size))
	return err
}

func (e *env) checkStream(seed uint64, size int) error {
	c, err := e.net.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	want, got := fnv.New64a(), fnv.New64a()
	written := make(chan error, 1)
	go func() {
		err := writePieces(io.MultiWriter(c, want), seed, size)
		if err != nil {
			c.Close() // ends the reading
		}
		written <- err
	}()
	err = readToEnd(got, c, size, seed%2 == 0)
	if err != nil {
		c.Close() // ends the writing
	}
	if err := errors.Join(<-written, err); err != nil {
		return fmt.Errorf("stream %d: %w", seed, err)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("stream %d: what has come back is not what was sent", seed)
	}
	return nil
}

// readToEnd copies from c until its end, by Read or the way io.Copy finds.
func readToEnd(w io.Writer, c net.Conn, size int, byRead bool) error {
	var r io.Reader = c
	if byRead {
		r = struct{ io.Reader }{c} // without WriteTo
	}
	n, err := io.Copy(w, r)
	if err == io.EOF { // smux's WriteTo returns it
		err = nil
	}
	if err == nil && n != int64(size) {
		err = fmt.Errorf("%d bytes have come, want %d", n, size)
	}
	return err
}

// writePieces writes size bytes that follow from the seed, in writes of 1 byte to 256 KiB.
func writePieces(w io.Writer, seed uint64, size int) error {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data, sizes := rand.NewChaCha8(key), rand.New(rand.NewPCG(seed, seed))
	buf := make([]byte, 256<<10)
	for size > 0 {
		n := min(size, 1<<sizes.IntN(19))
		data.Read(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
