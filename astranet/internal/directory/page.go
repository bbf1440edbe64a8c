package directory

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/virtnet/virtnet/astranet/internal/route"
)

const (
	MaxPage  = 4096      // bytes of a page
	MaxChain = 16 * 1024 // bytes of one with certificates
)

// Kinds of pages. In an entry they are in this order; pages of higher kinds, which later versions may have, are kept and passed on.
const (
	pageChain    = 1 // the certificates that the signature goes with, in DER, one at most
	pageLinks    = 2
	pageServices = 3
)

// A page is a part of an entry, as small as a change of it should be. It begins with its kind. It does not change.
type page struct {
	raw         string
	hash        hash
	first, last Service // of one with services
}

func (p *page) kind() byte { return p.raw[0] }

func parsePage(raw string) (*page, error) {
	if raw == "" || raw[0] == 0 {
		return nil, malformed("page without a kind")
	}
	if most := pageSize(raw[0]); len(raw) > most {
		return nil, malformed("page of %d bytes, at most %d", len(raw), most)
	}
	p := &page{raw: raw, hash: hashOf(raw)}
	switch p.kind() {
	case pageLinks:
		_, err := appendLinks(nil, raw)
		return p, err
	case pageServices:
		err := eachService(raw, func(s Service) {
			if p.first.Name == "" {
				p.first = s
			}
			p.last = s
		})
		return p, err
	}
	return p, nil
}

func pageSize(kind byte) int {
	if kind == pageChain {
		return MaxChain
	}
	return MaxPage
}

// eachService calls f for the services in a page, which are in order.
func eachService(raw string, f func(Service)) error {
	r := reader{rest: raw[1:]}
	if r.rest == "" {
		return malformed("empty page")
	}
	for last := (Service{}); r.rest != ""; {
		s := r.service()
		if r.err == nil && compareKey(last, s) >= 0 {
			r.fail("services out of order")
		}
		if r.err != nil {
			return r.err
		}
		f(s)
		last = s
	}
	return nil
}

// appendLinks appends the links in a page; they must be in order.
func appendLinks(links []route.Link, raw string) ([]route.Link, error) {
	r := reader{rest: raw[1:]}
	if r.rest == "" {
		return nil, malformed("empty page")
	}
	for r.rest != "" {
		l := route.Link{Peer: r.u64(), Cost: uint32(r.uvarint(math.MaxUint32))}
		if r.err == nil && (l.Peer == 0 || len(links) > 0 && links[len(links)-1].Peer >= l.Peer) {
			r.fail("links out of order")
		}
		if r.err != nil {
			return nil, r.err
		}
		links = append(links, l)
	}
	return links, nil
}

// appendLink encodes a link: peer 8 | cost.
func appendLink(b []byte, l route.Link) []byte {
	return binary.AppendUvarint(binary.BigEndian.AppendUint64(b, l.Peer), uint64(l.Cost))
}

// service reads what appendService has written. Host is not in it.
func (r *reader) service() (s Service) {
	s.Name = r.text(MaxServiceName)
	s.Port = r.u32()
	s.Weight = uint16(r.uvarint(math.MaxUint16))
	s.Flags = ServiceFlags(r.uvarint(math.MaxUint8))
	s.Tags = r.tags()
	if r.err == nil && (s.Name == "" || !utf8.ValidString(s.Name)) {
		r.fail("service without a name")
	}
	return s
}

// appendService encodes a service:
//
//	name | port 4 | weight | flags | tags n | n tags
func appendService(b []byte, s Service) []byte {
	b = appendText(b, s.Name)
	b = binary.BigEndian.AppendUint32(b, s.Port)
	b = binary.AppendUvarint(b, uint64(s.Weight))
	b = binary.AppendUvarint(b, uint64(s.Flags))
	if s.Tags.raw == "" {
		return append(b, 0)
	}
	return append(b, s.Tags.raw...)
}
