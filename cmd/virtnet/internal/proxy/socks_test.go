package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

func TestReadGreeting(t *testing.T) {
	for _, test := range []struct {
		name   string
		in     string // behind the first byte
		err    string
		answer string // of a socksError
		left   string
	}{
		{name: "no authentication", in: "\x01\x00", left: ""},
		{name: "among others", in: "\x03\x02\x00\x01rest", left: "rest"},
		{name: "all there are", in: "\xff" + strings.Repeat("\x00", 255) + "\x05", left: "\x05"},
		{name: "a password", in: "\x01\x02", err: "the client insists on authentication, of which there is none", answer: "\x05\xff"},
		{name: "nothing", in: "\x00rest", err: "the client insists on authentication, of which there is none", answer: "\x05\xff", left: "rest"},
		{name: "empty", in: "", err: "EOF"},
		{name: "cut short", in: "\x02\x00", err: "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := strings.NewReader(test.in)
			err := readGreeting(r)
			checkRead(t, r, err, test.err, test.answer, test.left)
		})
	}
}

func TestReadRequest(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, test := range []struct {
		name   string
		in     string
		want   socksRequest
		err    string
		answer replyCode
		left   string
	}{
		{name: "name", in: "\x05\x01\x00\x03\x02α\x00\x50rest", want: socksRequest{host: "α", port: 80}, left: "rest"},
		{name: "long name", in: "\x05\x01\x00\x03\xff" + long + "\xff\xff", want: socksRequest{host: long, port: 65535}},
		{name: "IPv4", in: "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50!", want: socksRequest{host: "127.0.0.1", port: 80, isIP: true}, left: "!"},
		{name: "IPv6", in: "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", want: socksRequest{host: "::1", port: 80, isIP: true}},
		{name: "IPv4 in IPv6", in: "\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01\x00\x50",
			want: socksRequest{host: "::ffff:127.0.0.1", port: 80, isIP: true}},
		{name: "reserved byte", in: "\x05\x01\x99\x03\x01a\x00\x01", want: socksRequest{host: "a", port: 1}},

		{name: "version", in: "\x04\x01\x00\x03\x01a\x00\x50", err: "a SOCKS request of version 4", answer: replyFailure, left: "\x01a\x00\x50"},
		{name: "bind", in: "\x05\x02\x00\x03\x01a\x00\x50", err: "SOCKS command 2 is not supported: only CONNECT is", answer: replyNoCommand},
		{name: "udp associate", in: "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", err: "SOCKS command 3 is not supported: only CONNECT is", answer: replyNoCommand},
		{name: "address type", in: "\x05\x01\x00\x02\x01a\x00\x50", err: "SOCKS address type 2 is unknown", answer: replyNoAddrType, left: "\x01a\x00\x50"},
		{name: "no name", in: "\x05\x01\x00\x03\x00\x00\x50", err: "a SOCKS request without a host name", answer: replyNoHost},
		{name: "port 0", in: "\x05\x01\x00\x03\x01a\x00\x00", err: "port 0 of a: nobody ever listens there", answer: replyRefused},

		{name: "empty", in: "", err: "EOF"},
		{name: "cut in the head", in: "\x05\x01", err: "unexpected EOF"},
		{name: "cut before the name", in: "\x05\x01\x00\x03", err: "EOF"},
		{name: "cut in the name", in: "\x05\x01\x00\x03\x02a", err: "unexpected EOF"},
		{name: "cut in the address", in: "\x05\x01\x00\x01\x7f", err: "unexpected EOF"},
		{name: "cut before the port", in: "\x05\x01\x00\x03\x01a", err: "EOF"},
		{name: "cut in the port", in: "\x05\x01\x00\x03\x01a\x00", err: "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := strings.NewReader(test.in)
			got, err := readRequest(r)
			if err == nil && got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			answer := ""
			if test.answer != 0 {
				answer = string(reply(test.answer))
			}
			checkRead(t, r, err, test.err, answer, test.left)
		})
	}
}

// checkRead checks how the reading of a message went, and what is left to read.
func checkRead(t *testing.T, r *strings.Reader, err error, want, answer, left string) {
	t.Helper()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != want {
		t.Errorf("error %q, want %q", text, want)
	}
	if bad, ok := errors.AsType[*socksError](err); ok && string(bad.answer) != answer || !ok && answer != "" {
		t.Errorf("error %#v, want the answer %q", err, answer)
	}
	if rest, _ := io.ReadAll(r); string(rest) != left {
		t.Errorf("left to read: %q, want %q", rest, left)
	}
}

// append writes the request as a client does.
func (r socksRequest) append(b []byte) []byte {
	b = append(b, socks5, commandConnect, 0)
	if r.isIP {
		ip := netip.MustParseAddr(r.host)
		kind := byte(typeIPv4)
		if ip.Is6() {
			kind = typeIPv6
		}
		b = append(append(b, kind), ip.AsSlice()...)
	} else {
		b = append(append(b, typeName, byte(len(r.host))), r.host...)
	}
	return binary.BigEndian.AppendUint16(b, r.port)
}

// FuzzSocks checks that what is read is what was written: nothing more, nothing less. Nothing panics, and no more than a
// message is read.
func FuzzSocks(f *testing.F) {
	for _, seed := range []string{
		"", "\x01\x00", "\x01\x02", "\xff",
		"\x01\x00\x05\x01\x00\x03\x02α\x00\x50rest",
		"\x02\x00\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
		"\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50",
		"\x01\x00\x05\x03\x00\x03\x01a\x00\x00",
		"\x01\x00\x05\x01\x00\x03\x00\x00\x50",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		if readGreeting(r) != nil {
			return
		}
		begin := len(in) - r.Len()
		if begin > 256 {
			t.Errorf("the greeting has %d bytes", begin)
		}
		req, err := readRequest(r)
		end := len(in) - r.Len()
		if end-begin > 4+256+2 {
			t.Errorf("the request has %d bytes", end-begin)
		}
		if err != nil {
			if bad, ok := errors.AsType[*socksError](err); ok && (len(bad.answer) != 10 || bad.answer[1] == byte(replyOK)) {
				t.Errorf("%v is answered with %q", err, bad.answer)
			}
			return
		}
		if req.host == "" || req.port == 0 {
			t.Errorf("request %+v", req)
		}
		want := bytes.Clone(in[begin:end])
		want[2] = 0 // reserved
		if got := req.append(nil); !bytes.Equal(got, want) {
			t.Errorf("%q is read as %+v, which is written as %q", want, req, got)
		}
	})
}
