package vdns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/virtnet/virtnet/pipenet"
)

// query returns a query with these questions.
func query(t testing.TB, opcode dnsmessage.OpCode, questions ...dnsmessage.Question) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, OpCode: opcode, RecursionDesired: true}, Questions: questions}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func question(name string, typ dnsmessage.Type, class dnsmessage.Class) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: class}
}

func TestServer(t *testing.T) {
	n := pipenet.New("t")
	defer n.Close()
	n.Host("127.0.0.1")
	n.Host("two words")
	s := &server{n.Host("beta")}
	betaArpa := reverse("fd76:6265:7461::")
	const in = dnsmessage.ClassINET
	for _, x := range []struct {
		name   string
		q      dnsmessage.Question
		rcode  dnsmessage.RCode
		answer string
	}{
		{"address", question("beta.", dnsmessage.TypeAAAA, in), 0, "fd76:6265:7461::"},
		{"any record, any class", question("beta.", dnsmessage.TypeALL, dnsmessage.ClassANY), 0, "fd76:6265:7461::"},
		{"IPv4 address", question("beta.", dnsmessage.TypeA, in), 0, ""},
		{"service", question("beta.", dnsmessage.TypeSRV, in), 0, ""},
		{"name that is no domain name", question("two words.", dnsmessage.TypeAAAA, in), 0, "fd76:7477:6f20:776f:7264:7300::"},
		{"no host", question("nohost.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"no host's IPv4 address", question("nohost.", dnsmessage.TypeA, in), dnsmessage.RCodeNameError, ""},
		{"other case", question("BETA.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"search domain", question("beta.example.com.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"root", question(".", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"name that is an address", question("127.0.0.1.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"name that is another address", question("fd76:6265:7461::.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"not UTF-8", question("\xff.", dnsmessage.TypeAAAA, in), dnsmessage.RCodeNameError, ""},
		{"other class", question("beta.", dnsmessage.TypeAAAA, dnsmessage.ClassCHAOS), dnsmessage.RCodeRefused, ""},
		{"name of an address", question(betaArpa, dnsmessage.TypePTR, in), 0, "beta."},
		{"in upper case", question(strings.ToUpper(betaArpa), dnsmessage.TypePTR, in), 0, "beta."},
		{"name of an IPv4 address", question("1.0.0.127.in-addr.arpa.", dnsmessage.TypePTR, in), dnsmessage.RCodeNameError, ""},
		{"name of no address", question("beta.", dnsmessage.TypePTR, in), dnsmessage.RCodeNameError, ""},
		{"name of no host's address", question(reverse("fd76:6100::"), dnsmessage.TypePTR, in), dnsmessage.RCodeNameError, ""},
		{"name that is no domain name, of its address", question(reverse("fd76:7477:6f20:776f:7264:7300::"), dnsmessage.TypePTR, in), 0, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := parse(t, s.answer(t.Context(), query(t, 0, x.q)))
			if m.RCode != x.rcode || m.ID != 7 || !m.Response || !m.Authoritative || !m.RecursionDesired {
				t.Errorf("header %v, want the code %v", m.GoString(), x.rcode)
			}
			if len(m.Questions) != 1 || m.Questions[0] != x.q {
				t.Errorf("questions %v, want %v", m.Questions, x.q)
			}
			if got := answers(m); got != x.answer {
				t.Errorf("answer %q, want %q", got, x.answer)
			}
		})
	}
}

// reverse returns the domain that an address is, with a dot.
func reverse(ip string) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	b := netip.MustParseAddr(ip).As16()
	for i := 15; i >= 0; i-- {
		s.Write([]byte{digits[b[i]&15], '.', digits[b[i]>>4], '.'})
	}
	return s.String() + "ip6.arpa."
}

func parse(t testing.TB, b []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("answer % x: %v", b, err)
	}
	return m
}

// answers returns the data of the records of a message.
func answers(m dnsmessage.Message) string {
	var all []string
	for _, a := range m.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(body.AAAA).String())
		case *dnsmessage.PTRResource:
			all = append(all, body.PTR.String())
		}
	}
	return strings.Join(all, " ")
}

func TestServerBadQueries(t *testing.T) {
	n := pipenet.New("t")
	defer n.Close()
	s := &server{n.Host("beta")}
	q := question("beta.", dnsmessage.TypeAAAA, dnsmessage.ClassINET)
	good := query(t, 0, q)
	for _, x := range []struct {
		name  string
		query []byte
		rcode dnsmessage.RCode
	}{
		{"no question", query(t, 0), dnsmessage.RCodeFormatError},
		{"two questions", query(t, 0, q, q), dnsmessage.RCodeFormatError},
		{"half a question", good[:len(good)-3], dnsmessage.RCodeFormatError},
		{"not a query", query(t, 5, q), dnsmessage.RCodeNotImplemented},
	} {
		if m := parse(t, s.answer(t.Context(), x.query)); m.RCode != x.rcode || m.ID != 7 || len(m.Answers) != 0 {
			t.Errorf("%s: %v, want the code %v", x.name, m.GoString(), x.rcode)
		}
	}
	for name, query := range map[string][]byte{"nothing": nil, "half a header": good[:11], "answer": s.answer(t.Context(), good)} {
		if got := s.answer(t.Context(), query); got != nil {
			t.Errorf("%s: answered with % x, want no answer", name, got)
		}
	}
	n.Close()
	if m := parse(t, s.answer(t.Context(), good)); m.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("network down: %v, want SERVFAIL", m.GoString())
	}
}

// Whatever is asked, there is an answer that says what it answers, or none.
func FuzzServer(f *testing.F) {
	n := pipenet.New("t")
	f.Cleanup(func() { n.Close() })
	s := &server{n.Host("beta")}
	for _, q := range []dnsmessage.Question{
		question("beta.", dnsmessage.TypeAAAA, dnsmessage.ClassINET),
		question(".", dnsmessage.TypeALL, dnsmessage.ClassANY),
		question(reverse("fd76:6265:7461::"), dnsmessage.TypePTR, dnsmessage.ClassINET),
	} {
		b := query(f, 0, q)
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		answer := s.answer(t.Context(), query)
		if answer == nil {
			return
		}
		m := parse(t, answer)
		if !m.Response || m.ID != binary.BigEndian.Uint16(query) || len(m.Questions) > 1 || len(m.Answers) > 1 || len(answer) > 1024 {
			t.Errorf("answer to % x: %v", query, m.GoString())
		}
	})
}

// Messages come in parts, several on one connection, and go out in parts.
func TestConn(t *testing.T) {
	n := pipenet.New("t")
	defer n.Close()
	c := newConn(t.Context(), &server{n.Host("beta")})
	q := query(t, 0, question("beta.", dnsmessage.TypeAAAA, dnsmessage.ClassINET))
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	for _, part := range [][]byte{framed[:1], framed[1:9], framed[9:], framed} {
		if n, err := c.Write(part); n != len(part) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	for range 2 {
		var size [2]byte
		for i := range size {
			if _, err := io.ReadFull(c, size[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		if got := answers(parse(t, b)); got != "fd76:6265:7461::" {
			t.Errorf("answer %q", got)
		}
	}
	if _, err := c.Read(make([]byte, 9)); err != io.EOF {
		t.Errorf("Read with nothing to answer: %v, want EOF", err)
	}
	if _, err := c.Write(make([]byte, maxIn+1)); err == nil {
		t.Error("Write takes any number of bytes")
	}
	if got := c.LocalAddr().Network() + " " + c.LocalAddr().String() + " " + c.RemoteAddr().String(); got != "pipet beta dns" {
		t.Errorf("addresses: %s", got)
	}
	_ = c.Close()
	if _, err := c.Write(q); !errors.Is(err, context.Canceled) {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New("t")
		defer n.Close()
		c := newConn(t.Context(), &server{n.Host("beta")})
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 9)); err != io.EOF {
			t.Errorf("before the deadline: %v, want EOF", err)
		}
		time.Sleep(time.Second)
		if _, err := c.Read(make([]byte, 9)); err != os.ErrDeadlineExceeded {
			t.Errorf("after the deadline: %v, want os.ErrDeadlineExceeded", err)
		}
	})
}

// What an address's domain is, and what is none.
func TestParseReverse(t *testing.T) {
	for _, ip := range []string{"fd76:ceb1::", "::", "123:4567:89ab:cdef:fedc:ba98:7654:3210"} {
		domain := strings.TrimSuffix(reverse(ip), ".")
		for _, d := range []string{domain, strings.ToUpper(domain)} {
			if got, ok := parseReverse(d); !ok || got != netip.MustParseAddr(ip) {
				t.Errorf("parseReverse(%s) = %s, %v, want %s", d, got, ok, ip)
			}
		}
		for _, d := range []string{
			"", "ip6.arpa", domain[2:], "0." + domain, domain + ".", strings.Replace(domain, "0", "g", 1),
			strings.Replace(domain, ".", "0", 1), strings.Replace(domain, "0", "\x10", 1), strings.Replace(domain, "6", "7", 99),
		} {
			if got, ok := parseReverse(d); ok && d != domain {
				t.Errorf("parseReverse(%q) = %s, want it to be none", d, got)
			}
		}
	}
}
