package lonet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readerConn is a connection that is only read.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func TestReadLine(t *testing.T) {
	full := strings.Repeat("x", maxLine-1)
	broken := errors.New("broken")
	for _, test := range []struct {
		name, in      string
		line, surplus string
		err           error
	}{
		{"a line", "abc\n", "abc", "", nil},
		{"an empty line", "\n", "", "", nil},
		{"two lines", "abc\ndef\n", "abc", "def\n", nil},
		{"the longest line", full + "\n", full, "", nil},
		{"too long a line", full + "x\n", "", "", errLongLine},
		{"nothing", "", "", "", io.ErrUnexpectedEOF},
		{"half a line", "abc", "", "", io.ErrUnexpectedEOF},
	} {
		for name, r := range map[string]io.Reader{
			"at once":            strings.NewReader(test.in),
			"byte by byte":       iotest.OneByteReader(strings.NewReader(test.in)),
			"with the end":       iotest.DataErrReader(strings.NewReader(test.in)),
			"before a breakdown": io.MultiReader(strings.NewReader(test.in), iotest.ErrReader(broken)),
		} {
			want := test.err
			if want == io.ErrUnexpectedEOF && name == "before a breakdown" {
				want = broken
			}
			var buf lineBuffer
			n, err := readLine(readerConn{Reader: r}, &buf, 0, maxLine)
			var line, surplus []byte
			if err == nil {
				line, surplus = splitLine(buf[:n])
			}
			if err != want || string(line) != test.line {
				t.Errorf("%s %s: got %.20q, %v, want %.20q, %v", test.name, name, line, err, test.line, want)
			}
			rest, _ := io.ReadAll(r) // none of it is lost
			if got := string(surplus) + string(rest); err == nil && got != test.surplus {
				t.Errorf("%s %s: behind it %q, want %q", test.name, name, got, test.surplus)
			}
		}
	}
}

// What is behind a line of which the length is known but for its port stays unread, whatever pieces it comes in.
func TestReadLineAtLeast(t *testing.T) {
	for _, port := range []string{"1", "12", "123", "1234", "12345", "2147483647"} {
		for name, pieces := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"in halves":    iotest.HalfReader,
		} {
			r := strings.NewReader("host:" + port + "\npayload\n")
			var buf lineBuffer
			n, err := readLine(readerConn{Reader: pieces(r)}, &buf, 0, len("host:1\n"))
			rest, _ := io.ReadAll(r)
			if string(buf[:n]) != "host:"+port+"\n" || err != nil || string(rest) != "payload\n" {
				t.Errorf("%s: got %q, %v, and left %q", name, buf[:n], err, rest)
			}
		}
	}
}

// A connection with surplus gives that first, to whoever reads, and how.
func TestSurplus(t *testing.T) {
	for name, read := range map[string]func(net.Conn) ([]byte, error){
		"Read":    func(c net.Conn) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(c)) },
		"WriteTo": func(c net.Conn) ([]byte, error) { var b bytes.Buffer; _, err := io.Copy(&b, c); return b.Bytes(), err },
		"both": func(c net.Conn) ([]byte, error) {
			b := make([]byte, 3)
			if _, err := io.ReadFull(c, b); err != nil {
				return nil, err
			}
			buf := bytes.NewBuffer(b)
			_, err := io.Copy(buf, c)
			return buf.Bytes(), err
		},
	} {
		near, far := tcpPair(t)
		io.WriteString(far, " world")
		far.Close()
		surplus := []byte("hello")
		c := withSurplus(near, surplus)
		clear(surplus) // the buffer is another handshake's by now
		if got, err := read(c); string(got) != "hello world" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// tcpPair returns two ends of a TCP connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var ends [2]net.Conn
	if ends[1], err = net.Dial("tcp4", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ends[1].Close() })
	if ends[0], err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ends[0].Close() })
	return ends[0].(*net.TCPConn), ends[1].(*net.TCPConn)
}

// Surplus obeys Close, CloseRead and deadlines, as what is in the socket does.
func TestSurplusObeys(t *testing.T) {
	for name, read := range map[string]func(net.Conn) (int, error){
		"Read":    func(c net.Conn) (int, error) { return c.Read(make([]byte, 2)) },
		"WriteTo": func(c net.Conn) (int, error) { n, err := io.Copy(io.Discard, c); return int(n), err },
	} {
		want := func(what string, c net.Conn, want error) {
			t.Helper()
			if n, err := read(c); n != 0 || !errors.Is(err, want) {
				t.Errorf("%s after %s: %d bytes, %v, want %v", name, what, n, err, want)
			}
		}
		near, _ := tcpPair(t)
		c := withSurplus(near, []byte("hello"))
		c.SetReadDeadline(aLongTimeAgo)
		want("a deadline", c, os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		b := make([]byte, 2)
		if n, err := c.Read(b); string(b[:n]) != "he" || err != nil { // nothing of it is lost
			t.Errorf("%s: then got %q, %v", name, b[:n], err)
		}
		c.Close()
		want("Close", c, net.ErrClosed)

		near, _ = tcpPair(t)
		c = withSurplus(near, []byte("hello"))
		if err := c.(*surplusConn).CloseRead(); err != nil {
			t.Error(err)
		}
		if n, err := read(c); n != 0 || err != nil && err != io.EOF {
			t.Errorf("%s after CloseRead: %d bytes, %v", name, n, err)
		}
	}
}
