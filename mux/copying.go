package mux

import (
	"io"
	"sync"
)

// copyBuffer is how much is copied at once: what goes into a frame.
const copyBuffer = maxData

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

var (
	_ io.WriterTo   = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)

// WriteTo writes what it reads from the stream to w, until the stream's end or an error. io.Copy calls it.
func (st *Stream) WriteTo(w io.Writer) (n int64, err error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for {
		k, err := st.Read(buf[:])
		if k > 0 {
			written, err := w.Write(buf[:k])
			n += int64(written)
			if written < k && err == nil {
				err = io.ErrShortWrite
			}
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// ReadFrom writes what it reads from r to the stream, until the end of r or an error. It does not end the stream. io.Copy
// calls it.
func (st *Stream) ReadFrom(r io.Reader) (n int64, err error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for {
		k, err := r.Read(buf[:])
		if k > 0 {
			k, err := st.Write(buf[:k])
			n += int64(k)
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
