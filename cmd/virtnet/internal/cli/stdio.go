package cli

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// stdio is standard input and output as a connection, for bridge.Join: not all that net.Conn promises holds. Its
// Read and Write end when it is closed, whatever the files do: goroutines of its own wait for those, and stay behind
// until the files let them go.
//
// One goroutine may read, and another write, at a time.
type stdio struct {
	in       io.Reader // nil is an empty one
	out      io.Writer // is closed with the writing side if it is an io.Closer
	terminal bool      // in is one

	reading sync.Once
	chunks  chan chunk // from in
	rest    chunk      // what Read has not returned yet
	ended   chan struct{}
	end     func() // closes ended: nothing more is to be read

	writing sync.Once
	buffers chan []byte // to out
	written chan error

	closed chan struct{}
	close  func()
}

// A chunk is what a read of the input has brought.
type chunk struct {
	b   []byte
	err error
}

var _ net.Conn = (*stdio)(nil)

func newStdio(in io.Reader, out io.Writer) *stdio {
	s := &stdio{
		in: in, out: out, ended: make(chan struct{}), closed: make(chan struct{}),
		chunks: make(chan chunk), buffers: make(chan []byte), written: make(chan error),
	}
	if f, ok := in.(*os.File); ok {
		s.terminal = isTerminal(f)
	}
	s.end = sync.OnceFunc(func() { close(s.ended) })
	s.close = sync.OnceFunc(func() { close(s.closed) })
	return s
}

func (s *stdio) Read(b []byte) (int, error) {
	if s.in == nil {
		return 0, io.EOF
	}
	if len(s.rest.b) == 0 && s.rest.err == nil {
		s.reading.Do(func() { go s.readAll() })
		select {
		case s.rest = <-s.chunks:
		case <-s.ended:
			s.rest.err = io.EOF
		case <-s.closed:
			s.rest.err = net.ErrClosed
		}
	}
	n := copy(b, s.rest.b)
	s.rest.b = s.rest.b[n:]
	if len(s.rest.b) > 0 {
		return n, nil
	}
	return n, s.rest.err
}

// readAll reads the input, one chunk ahead: two buffers take turns.
func (s *stdio) readAll() {
	now, next := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := s.in.Read(now)
		if s.terminal && isInBackground(err) {
			err = io.EOF // nobody can type anything
		}
		select {
		case s.chunks <- chunk{now[:n], err}:
		case <-s.closed:
			return
		}
		if err != nil {
			return
		}
		now, next = next, now
	}
}

func (s *stdio) Write(b []byte) (int, error) {
	s.writing.Do(func() { go s.writeAll() })
	select {
	case s.buffers <- b:
	case <-s.closed:
		return 0, net.ErrClosed
	}
	select {
	case err := <-s.written:
		if err != nil {
			return 0, err
		}
		return len(b), nil
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *stdio) writeAll() {
	for {
		select {
		case b := <-s.buffers:
			_, err := s.out.Write(b)
			select {
			case s.written <- err:
			case <-s.closed:
				return
			}
		case <-s.closed:
			return
		}
	}
}

// CloseWrite is called when the other side has said all it wanted to: who reads the output shall know. At a terminal it
// ends the input too. What is typed there has no end of its own, and most often nobody waits for it any more.
func (s *stdio) CloseWrite() error {
	if s.terminal {
		s.end()
	}
	if c, ok := s.out.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Close interrupts Read and Write.
func (s *stdio) Close() error {
	s.close()
	return nil
}

// SetReadDeadline ends the input then.
func (s *stdio) SetReadDeadline(t time.Time) error {
	time.AfterFunc(time.Until(t), s.end)
	return nil
}

// SetWriteDeadline does nothing: whoever reads the output takes its time.
func (s *stdio) SetWriteDeadline(time.Time) error { return nil }

func (s *stdio) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }
func (s *stdio) LocalAddr() net.Addr           { return stdioAddr{} }
func (s *stdio) RemoteAddr() net.Addr          { return stdioAddr{} }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }
