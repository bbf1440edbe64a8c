package lonet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
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
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		far, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		near, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(far, " world")
		far.Close()
		surplus := []byte("hello")
		c := withSurplus(near.(*net.TCPConn), surplus)
		clear(surplus) // the buffer is another handshake's by now
		if got, err := read(c); string(got) != "hello world" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		c.Close()
		l.Close()
	}
}
