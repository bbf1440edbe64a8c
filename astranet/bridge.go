package astranet

import (
	"io"
	"net"
	"sync"

	"github.com/virtnet/virtnet/internal/pipe"
)

// bridge is a net.Conn made of a stream that is none: one with deadlines, which ends when it is closed, also if the stream does not.
// Two goroutines copy. One of them stays until its Read of the stream returns.
type bridge struct {
	*pipe.Conn
	far *pipe.Conn
	end func() error // closes the stream, if it can be closed
}

func newBridge(rw io.ReadWriter) *bridge {
	near, far := pipe.New(pipe.DefaultSize)
	b := &bridge{near, far, func() error { return nil }}
	if c, ok := rw.(io.Closer); ok {
		b.end = sync.OnceValue(c.Close)
	}
	go func() {
		_, err := io.Copy(far, rw)
		if err != nil {
			_ = far.Close() // or what is written would wait for nothing
		}
		_ = far.CloseWrite()
	}()
	go func() {
		_, err := io.Copy(rw, far)
		if err != nil {
			_ = far.Close()
			return
		}
		_ = closeWrite(rw)
	}()
	return b
}

// Close ends the stream too, even if a Write of it hangs.
func (b *bridge) Close() error {
	_ = b.Conn.Close()
	_ = b.far.Close()
	return b.end()
}

func (*bridge) LocalAddr() net.Addr  { return namedAddr{"attached", "attached"} }
func (*bridge) RemoteAddr() net.Addr { return namedAddr{"attached", "attached"} }
