package vdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/punycode"
)

// server answers DNS queries from what a host can look up. It has no state.
type server struct{ host *virtnet.Host }

// answer returns the answer to a query. There is none to what is not even the beginning of a query.
func (s *server) answer(ctx context.Context, query []byte) []byte {
	var p dnsmessage.Parser
	asked, err := p.Start(query)
	if err != nil || asked.Response {
		return nil
	}
	h := dnsmessage.Header{
		ID: asked.ID, Response: true, OpCode: asked.OpCode, RecursionDesired: asked.RecursionDesired,
		Authoritative: true, RecursionAvailable: true,
	}
	questions, err := p.AllQuestions()
	switch {
	case asked.OpCode != 0:
		h.RCode = dnsmessage.RCodeNotImplemented
		return pack(h, nil, nil)
	case err != nil || len(questions) != 1:
		h.RCode = dnsmessage.RCodeFormatError
		return pack(h, nil, nil)
	}
	q := questions[0]
	var body dnsmessage.ResourceBody
	if q.Class == dnsmessage.ClassINET || q.Class == dnsmessage.ClassANY {
		body, h.RCode = s.lookup(ctx, q)
	} else {
		h.RCode = dnsmessage.RCodeRefused
	}
	return pack(h, &q, body)
}

// pack returns the message with the question and the record that answers it, each where there is one.
func pack(h dnsmessage.Header, q *dnsmessage.Question, body dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{Header: h}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	if body != nil {
		// What is true now may not be in the next instant: it is not to be kept (TTL 0).
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
		m.Answers = []dnsmessage.Resource{{Header: rh, Body: body}}
	}
	b, err := m.Pack()
	if err != nil { // a name that could be unpacked but not packed
		h.RCode = dnsmessage.RCodeFormatError
		b, _ = (&dnsmessage.Message{Header: h}).Pack()
	}
	return b
}

// lookup returns the record that is asked for. A name that exists without such a record has neither a body nor an error.
func (s *server) lookup(ctx context.Context, q dnsmessage.Question) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	name := strings.TrimSuffix(q.Name.String(), ".")
	if q.Type == dnsmessage.TypePTR {
		return s.lookupPTR(ctx, name)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return nil, dnsmessage.RCodeNameError // LookupNetIP would return it as it is
	}
	ips, err := s.host.LookupNetIP(ctx, "ip6", name)
	if err != nil {
		return nil, rcode(err)
	}
	if q.Type != dnsmessage.TypeAAAA && q.Type != dnsmessage.TypeALL {
		return nil, dnsmessage.RCodeSuccess
	}
	return &dnsmessage.AAAAResource{AAAA: ips[0].As16()}, dnsmessage.RCodeSuccess
}

// lookupPTR returns the record with the name of a host, as DNS has it, for the domain that an address is.
func (s *server) lookupPTR(ctx context.Context, domain string) (dnsmessage.ResourceBody, dnsmessage.RCode) {
	ip, ok := parseReverse(domain)
	if !ok {
		return nil, dnsmessage.RCodeNameError
	}
	names, err := s.host.LookupAddr(ctx, ip.String())
	if err != nil {
		return nil, rcode(err)
	}
	ascii, ok := domainName(names[0])
	if !ok {
		return nil, dnsmessage.RCodeSuccess
	}
	return &dnsmessage.PTRResource{PTR: ascii}, dnsmessage.RCodeSuccess
}

// rcode is what DNS has for the error of a lookup.
func rcode(err error) dnsmessage.RCode {
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return dnsmessage.RCodeNameError
	}
	return dnsmessage.RCodeServerFailure
}

// parseReverse returns the address that a domain below ip6.arpa is for (RFC 3596, section 2.5): its 32 digits from the
// last to the first, a label each.
func parseReverse(domain string) (netip.Addr, bool) {
	const suffix = ".ip6.arpa"
	digits := len(domain) - len(suffix)
	if digits != 63 || !strings.EqualFold(domain[digits:], suffix) {
		return netip.Addr{}, false
	}
	var ip [16]byte
	for i := range 32 {
		d := strings.IndexByte("0123456789abcdefABCDEF", domain[2*i])
		if d > 0xf { // upper case
			d -= 6
		}
		if d < 0 || i > 0 && domain[2*i-1] != '.' {
			return netip.Addr{}, false
		}
		ip[15-i/2] |= byte(d) << (4 * (i % 2))
	}
	return netip.AddrFrom16(ip), true
}

// domainName returns the domain name that is looked up for the host of that name, if there is one.
func domainName(host string) (dnsmessage.Name, bool) {
	ascii := punycode.ToASCII(host)
	if ascii != host && punycode.ToUnicode(ascii) != host {
		return dnsmessage.Name{}, false // another's
	}
	if len(ascii) > 253 {
		return dnsmessage.Name{}, false
	}
	letters := false
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return dnsmessage.Name{}, false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
				letters = true
			case '0' <= c && c <= '9':
			default:
				return dnsmessage.Name{}, false
			}
		}
	}
	if !letters { // it would be taken for an IPv4 address
		return dnsmessage.Name{}, false
	}
	name, err := dnsmessage.NewName(ascii + ".")
	return name, err == nil
}
