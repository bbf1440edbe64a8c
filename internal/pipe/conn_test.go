package pipe

import (
	"fmt"
	"net"
	"testing"
	"unsafe"

	"golang.org/x/net/nettest"
)

// sizes are the sizes of pipes that tests run with.
var sizes = []int{0, 1, 1000, DefaultSize, 256 << 10}

func forSizes(t *testing.T, f func(t *testing.T, size int)) {
	for _, size := range sizes {
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) { f(t, size) })
	}
}

func TestConn(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			a, b := New(size)
			return a, b, func() { a.Close(); b.Close() }, nil
		})
	})
}

func TestAddr(t *testing.T) {
	a, _ := New(0)
	for _, addr := range []net.Addr{a.LocalAddr(), a.RemoteAddr()} {
		if addr.Network() != "pipe" || addr.String() != "pipe" {
			t.Errorf("got %s %s, want pipe pipe", addr.Network(), addr)
		}
	}
}

// TestAllocs holds the package to what doc.go says of memory.
func TestAllocs(t *testing.T) {
	var keep *Conn // or New is inlined and its result not on the heap
	if n := testing.AllocsPerRun(100, func() { keep, _ = New(DefaultSize) }); n != 1 {
		t.Errorf("New: got %v allocations, want 1", n)
	}
	if size := 2*unsafe.Sizeof(*keep) + 2*unsafe.Sizeof(*keep.in); size > 640 {
		t.Errorf("pair: got %d bytes, want at most 640", size)
	}
	for _, size := range []int{0, DefaultSize} {
		a, b := New(size)
		go func() {
			defer b.Close()
			buf := make([]byte, 64)
			for {
				n, err := b.Read(buf)
				if err != nil {
					return
				}
				b.Write(buf[:n])
			}
		}()
		buf := make([]byte, 64)
		n := testing.AllocsPerRun(1000, func() {
			a.Write(buf)
			a.Read(buf)
		})
		if n != 0 {
			t.Errorf("size %d: ping-pong: got %v allocations, want 0", size, n)
		}
		a.Close()
	}
}
