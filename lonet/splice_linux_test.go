package lonet_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/xnet"
)

// What io.Copy moves from one connection to another stays in the kernel: it is spliced, and neither read nor
// written.
func TestSplice(t *testing.T) {
	const size = 8 << 20
	send := func(c net.Conn) {
		io.Copy(c, io.LimitReader(zeros{}, size))
		c.(*virtnet.Conn).CloseWrite()
	}
	t.Run("echo", func(t *testing.T) {
		testSplice(t, size, 2*size, send, echo)
	})
	t.Run("server speaks first", func(t *testing.T) {
		testSplice(t, size, size, func(net.Conn) {}, func(l xnet.Listener) {
			for {
				c, err := l.Accept(context.Background())
				if err != nil {
					return
				}
				send(c)
				c.Close()
			}
		})
	})
}

// testSplice dials a server by way of a process that relays. back bytes come back, and in all through go through the
// relay.
func testSplice(t *testing.T, back, through int, client func(net.Conn), server func(xnet.Listener)) {
	strace := needs.Program(t, "strace")
	p := newPlace(t)
	β := p.host("β")
	l := p.listen(β, ":1")
	go server(l)
	defer l.Close()
	trace := filepath.Join(t.TempDir(), "trace")
	α := startChild(t, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{strace, "-f", "-qq", "-o", trace, "-e", "trace=splice,read,write"}, cmd.Path)
		cmd.Path = strace
	})
	α.do("join", p.cfg.TempDir, "t")
	α.do("host", "α")
	α.do("listen", "α", "α:1")
	α.do("relay", "α", "α:1", "β:1")
	c := p.dial(β, "α:1").(*virtnet.Conn)
	go client(c)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.Copy(io.Discard, c); n != int64(back) || err != nil {
		t.Fatalf("%d bytes came back, %v; want %d", n, err, back)
	}
	α.do("leave")
	moved := make(map[string]int)
	for _, call := range regexp.MustCompile(`(splice|read|write)(?:\(| resumed>).* = (\d+)`).FindAllStringSubmatch(string(must[[]byte](t)(os.ReadFile(trace))), -1) {
		n := must[int](t)(strconv.Atoi(call[2]))
		moved[call[1]] += n
	}
	t.Logf("moved: %v", moved)
	// Each byte goes into a pipe and out of it.
	if moved["splice"] < 2*through {
		t.Errorf("%d bytes were spliced, want %d", moved["splice"], 2*through)
	}
	if rest := moved["read"] + moved["write"]; rest > through/100 {
		t.Errorf("%d bytes were read and written", rest)
	}
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// The connection is the operating system's, with all that it can do.
func TestCarrier(t *testing.T) {
	p := newPlace(t)
	α, β := p.host("α"), p.host("β")
	l := p.listen(α, ":1")
	done := make(chan net.Conn, 1)
	go func() {
		c, _ := β.Dial(p.ctx, "α:1")
		done <- c
	}()
	accepted := p.accept(l)
	dialled := <-done
	defer dialled.Close()
	for name, c := range map[string]net.Conn{"dialled": dialled, "accepted": accepted} {
		c := c.(*virtnet.Conn)
		if _, ok := c.NetConn().(*net.TCPConn); !ok {
			t.Errorf("%s: NetConn is a %T", name, c.NetConn())
		}
		raw := must[syscall.RawConn](t)(c.SyscallConn())
		for _, value := range []int{0, 1} {
			var got int
			var err error
			if cerr := raw.Control(func(fd uintptr) {
				if err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, value); err == nil {
					got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
				}
			}); cerr != nil || err != nil || got != value {
				t.Errorf("%s: TCP_NODELAY is %d, %v, %v", name, got, cerr, err)
			}
		}
		start := time.Now()
		c.SetReadDeadline(start.Add(20 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(start); !os.IsTimeout(err) || took < 20*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: Read: %v after %v", name, err, took)
		}
		c.SetReadDeadline(time.Time{})
	}
	io.WriteString(dialled, "hello")
	if err := dialled.(*virtnet.Conn).CloseWrite(); err != nil {
		t.Error(err)
	}
	accepted.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(accepted); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	io.WriteString(accepted, "bye")
	accepted.Close()
	if got, err := io.ReadAll(dialled); string(got) != "bye" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if strings.Contains(dialled.LocalAddr().String(), "127.0.0.1") {
		t.Errorf("local address %v", dialled.LocalAddr())
	}
}
