package virtnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/virtnet/virtnet"
)

// copier is a carrier with ReadFrom and WriteTo of its own.
type copier struct {
	*carrier
	err  error     // what they return
	from io.Reader // what ReadFrom was called with
	to   io.Writer // what WriteTo was called with
}

func (c *copier) ReadFrom(r io.Reader) (int64, error) {
	c.from = r
	n, err := io.Copy(io.Discard, r)
	if c.err != nil {
		err = c.err
	}
	return n, err
}

func (c *copier) WriteTo(w io.Writer) (int64, error) {
	c.to = w
	n, err := io.Copy(w, strings.NewReader("from afar"))
	if c.err != nil {
		err = c.err
	}
	return n, err
}

// What a carrier can do about copying is used.
func TestCopyByCarrier(t *testing.T) {
	carrier := &copier{carrier: newCarrier()}
	c := on(t, carrier)
	r := struct{ io.Reader }{strings.NewReader("hello")}
	if n, err := io.Copy(c, r); n != 5 || err != nil || carrier.from != r {
		t.Errorf("io.Copy to the connection: %d, %v, from %v", n, err, carrier.from)
	}
	var w strings.Builder
	if n, err := io.Copy(&w, c); n != 9 || err != nil || carrier.to != &w {
		t.Errorf("io.Copy from the connection: %d, %v, to %v", n, err, carrier.to)
	}
}

// The carrier reads from another one directly where the kernel can copy between them. Anything else is read
// through the connection, for its errors.
func TestCopyBetweenCarriers(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α := f.host("α")
	dst := &copier{carrier: newCarrier()}
	c := f.on(α, dst)

	tcp, peer := tcpPair(t)
	src := f.on(α, tcp)
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(peer, s); err != nil {
			t.Fatal(err)
		}
	}
	send("hello, hello")
	limit := &io.LimitedReader{R: src, N: 7}
	n, err := io.Copy(c, limit)
	if n != 7 || err != nil || limit.N != 0 {
		t.Errorf("copied %d, %v, %d are left", n, err, limit.N)
	}
	if l, ok := dst.from.(*io.LimitedReader); !ok || l.R != tcp {
		t.Errorf("the carrier read from %T", dst.from)
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	limit.N = 100
	if n, err = io.Copy(c, limit); n != 5 || err != nil || limit.N != 95 {
		t.Errorf("copied %d, %v, %d are left", n, err, limit.N)
	}
	for _, copy := range []func() (int64, error){
		func() (int64, error) { return c.ReadFrom(src) },
		func() (int64, error) { return src.WriteTo(c) },
	} {
		dst.from = nil
		if n, err := copy(); n != 0 || err != nil || dst.from != tcp {
			t.Errorf("copied %d, %v, from %T", n, err, dst.from)
		}
	}

	other := f.on(α, &copier{carrier: newCarrier()})
	if n, err := c.ReadFrom(other); n != 9 || err != nil || dst.from != other {
		t.Errorf("copied %d, %v, from %T", n, err, dst.from)
	}
}

// From a TCP connection to another, under two connections, with a limit and without.
func TestCopyTCP(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	α := f.host("α")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	for _, limited := range []bool{false, true} {
		from, in := tcpPair(t)
		to, out := tcpPair(t)
		src, dst := f.on(α, from), f.on(α, to)
		sent := start(func() (int, error) {
			n, err := in.Write(data)
			return n, errors.Join(err, in.CloseWrite())
		})
		copied := start(func() (int64, error) {
			var r io.Reader = src
			if limited {
				r = io.LimitReader(src, int64(len(data)))
			}
			n, err := io.Copy(dst, r)
			return n, errors.Join(err, dst.CloseWrite())
		})
		got, err := io.ReadAll(out)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes arrive (%v), want %d", len(got), err, len(data))
		}
		if n := copied.succeeds(t); n != int64(len(data)) {
			t.Errorf("copied %d bytes, want %d", n, len(data))
		}
		sent.succeeds(t)
	}
}

// From a file and into one.
func TestCopyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	tcp, peer := tcpPair(t)
	c := on(t, tcp)
	if n, err := io.Copy(c, io.LimitReader(in, 6)); n != 6 || err != nil {
		t.Errorf("copied %d, %v", n, err)
	}
	if n, err := io.Copy(c, in); n != 5 || err != nil {
		t.Errorf("copied %d, %v", n, err)
	}
	wantText(t, c.CloseWrite(), "")
	if _, err := io.Copy(peer, peer); err != nil { // echo
		t.Fatal(err)
	}
	wantText(t, peer.Close(), "")
	out, err := os.Create(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if n, err := io.Copy(out, c); n != 11 || err != nil {
		t.Errorf("copied %d, %v", n, err)
	}
	if got, err := os.ReadFile(path + "2"); string(got) != "from a file" || err != nil {
		t.Errorf("the file has %q, %v", got, err)
	}
}

// The errors of a copy have the connections' addresses, never the carriers', and keep what the other side says.
func TestCopyErrors(t *testing.T) {
	sorry := errors.New("sorry")
	others := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 1}, Addr: &net.TCPAddr{Port: 2}, Err: sorry}
	for _, x := range []struct {
		name string
		copy func(f *fake, h *virtnet.Host) (int64, error)
		is   error
		want string
	}{
		{"plain carrier, reader fails", func(f *fake, h *virtnet.Host) (int64, error) {
			return f.on(h, newCarrier()).ReadFrom(iotest.ErrReader(sorry))
		}, sorry, "sorry"},
		{"plain carrier fails", func(f *fake, h *virtnet.Host) (int64, error) {
			c, d := net.Pipe()
			_ = d.Close()
			return f.on(h, c).ReadFrom(strings.NewReader("x"))
		}, io.ErrClosedPipe, "write fake α:1->β:80: io: read/write on closed pipe"},
		{"ReadFrom, reader fails", func(f *fake, h *virtnet.Host) (int64, error) {
			return f.on(h, &copier{carrier: newCarrier()}).ReadFrom(iotest.ErrReader(sorry))
		}, sorry, "readfrom fake α:1->β:80: sorry"},
		{"ReadFrom, reader fails with an OpError", func(f *fake, h *virtnet.Host) (int64, error) {
			return f.on(h, &copier{carrier: newCarrier()}).ReadFrom(iotest.ErrReader(others))
		}, sorry, "readfrom fake α:1->β:80: read tcp :1->:2: sorry"},
		{"WriteTo fails", func(f *fake, h *virtnet.Host) (int64, error) {
			return f.on(h, &copier{carrier: newCarrier(), err: sorry}).WriteTo(io.Discard)
		}, sorry, "writeto fake α:1->β:80: sorry"},
		{"TCP, reader fails", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, _ := tcpPair(f.T)
			return f.on(h, tcp).ReadFrom(iotest.ErrReader(sorry))
		}, sorry, "readfrom fake α:1->β:80: sorry"},
		{"TCP, reader fails with an OpError", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, _ := tcpPair(f.T)
			return f.on(h, tcp).ReadFrom(iotest.ErrReader(others))
		}, sorry, "readfrom fake α:1->β:80: read tcp :1->:2: sorry"},
		{"TCP cannot be written", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, _ := tcpPair(f.T)
			_ = tcp.CloseWrite()
			return f.on(h, tcp).ReadFrom(strings.NewReader("x"))
		}, syscall.EPIPE, "readfrom fake α:1->β:80: write: broken pipe"},
		{"TCP, writer fails", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, peer := tcpPair(f.T)
			_, _ = peer.Write([]byte("x"))
			return f.on(h, tcp).WriteTo(writer(func([]byte) (int, error) { return 0, sorry }))
		}, sorry, "writeto fake α:1->β:80: sorry"},
		{"TCP is reset", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, peer := tcpPair(f.T)
			reset(f.T, peer)
			return f.on(h, tcp).WriteTo(io.Discard)
		}, syscall.ECONNRESET, "writeto fake α:1->β:80: read: connection reset by peer"},
		{"TCP to TCP, source is reset", func(f *fake, h *virtnet.Host) (int64, error) {
			from, peer := tcpPair(f.T)
			to, _ := tcpPair(f.T)
			reset(f.T, peer)
			c := f.on(h, to)
			return c.ReadFrom(f.on(h, from))
		}, syscall.ECONNRESET, ""}, // splice does not say which end it was
		{"TCP to TCP, destination is reset", func(f *fake, h *virtnet.Host) (int64, error) {
			from, in := tcpPair(f.T)
			to, peer := tcpPair(f.T)
			reset(f.T, peer)
			_, _ = in.Write([]byte("x"))
			c := f.on(h, to)
			return c.ReadFrom(f.on(h, from))
		}, nil, ""}, // ECONNRESET or EPIPE
		{"TCP to itself closed", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, _ := tcpPair(f.T)
			c := f.on(h, tcp)
			_ = c.Close()
			return c.ReadFrom(strings.NewReader("x"))
		}, virtnet.ErrSockDown, "readfrom fake α:1->β:80: socket is down"},
		{"from TCP that is closed", func(f *fake, h *virtnet.Host) (int64, error) {
			tcp, _ := tcpPair(f.T)
			c := f.on(h, tcp)
			_ = c.Close()
			return c.WriteTo(io.Discard)
		}, virtnet.ErrSockDown, "writeto fake α:1->β:80: socket is down"},
		{"TCP to TCP, source is closed", func(f *fake, h *virtnet.Host) (int64, error) {
			from, _ := tcpPair(f.T)
			to, _ := tcpPair(f.T)
			src := f.on(h, from)
			dst := f.on(h, to)
			_ = src.Close()
			return io.Copy(dst, src)
		}, virtnet.ErrSockDown, "read fake α:1->β:80: socket is down"},
		{"TCP to TCP, destination is closed", func(f *fake, h *virtnet.Host) (int64, error) {
			from, in := tcpPair(f.T)
			to, _ := tcpPair(f.T)
			_, _ = in.Write([]byte("x"))
			src := f.on(h, from)
			dst := f.on(h, to)
			_ = dst.Close()
			return io.Copy(dst, src)
		}, virtnet.ErrSockDown, "readfrom fake α:2->β:80: socket is down"},
		{"host is closed, and the source ends as by EOF", func(f *fake, h *virtnet.Host) (int64, error) {
			c := f.on(h, &copier{carrier: newCarrier()})
			_ = h.Close()
			return c.WriteTo(io.Discard)
		}, virtnet.ErrHostDown, "writeto fake α:1->β:80: host is down"},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t, virtnet.Config{})
			_, err := x.copy(f, f.host("α"))
			if err == nil {
				t.Fatal("it succeeds")
			}
			if x.is != nil && !errors.Is(err, x.is) {
				t.Errorf("%v does not match %v", err, x.is)
			}
			if x.want != "" {
				wantText(t, err, x.want)
			}
			if strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), "fake") && x.want != "sorry" {
				t.Errorf("%v: want the addresses of the virtual network only", err)
			}
		})
	}
}

// reset closes a TCP connection so that its peer sees a reset.
func reset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// A copy that is under way ends with whatever goes down.
func TestCopyInterrupted(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(src, dst io.Closer)
		want string
	}{
		{"source", func(src, _ io.Closer) { _ = src.Close() }, "read fake α:1->β:80: socket is down"},
		{"both", func(src, dst io.Closer) { _, _ = dst.Close(), src.Close() }, "read fake α:1->β:80: socket is down"},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t, virtnet.Config{})
			α := f.host("α")
			from, in := tcpPair(t)
			to, out := tcpPair(t)
			src, dst := f.on(α, from), f.on(α, to)
			copied := start(func() (int64, error) { return io.Copy(dst, src) })
			if _, err := in.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil { // the copy is under way
				t.Fatal(err)
			}
			x.end(src, dst)
			copied.fails(t, x.want)
		})
	}
}
