package lonet_test

import (
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
)

// What io.Copy moves from one connection to another stays in the kernel: it is spliced, and neither read nor
// written.
func TestSplice(t *testing.T) {
	strace := needs.Program(t, "strace")
	const size = 8 << 20
	p := newPlace(t)
	β := p.host("β")
	p.echo(p.listen(β, ":1"))
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
	go func() {
		io.Copy(c, io.LimitReader(zeros{}, size))
		c.CloseWrite()
	}()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Fatalf("%d bytes came back, %v; want %d", n, err, size)
	}
	α.do("leave")
	moved := make(map[string]int)
	for _, call := range regexp.MustCompile(`(splice|read|write)(?:\(| resumed>).* = (\d+)`).FindAllStringSubmatch(string(must[[]byte](t)(os.ReadFile(trace))), -1) {
		n := must[int](t)(strconv.Atoi(call[2]))
		moved[call[1]] += n
	}
	t.Logf("moved: %v", moved)
	// Each byte goes through the relay twice, and each time into a pipe and out of it.
	if moved["splice"] < 4*size {
		t.Errorf("%d bytes were spliced, want %d", moved["splice"], 4*size)
	}
	if rest := moved["read"] + moved["write"]; rest > size/100 {
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
