package directory

import (
	"slices"

	"github.com/virtnet/virtnet/astranet/internal/route"
)

// An entry is all that a node says of itself, in one version. It does not change.
type entry struct {
	head
	stamp  stamp
	signed string // the head as it came
	sig    string
	parts  []*page // as in head.pages
	links  []route.Link
	size   int
}

// newEntry puts an entry together. Whether the signature is good is for others to say.
func newEntry(h head, signed, sig string, parts []*page) (*entry, error) {
	e := &entry{head: h, stamp: stampOf(h.version, signed), signed: signed, sig: sig, parts: parts, size: len(signed) + len(sig)}
	var last *page
	for _, p := range parts {
		e.size += len(p.raw)
		if last != nil && !follows(last, p) {
			return nil, malformed("pages out of order")
		}
		last = p
		if p.kind() == pageLinks {
			var err error
			if e.links, err = appendLinks(e.links, p.raw); err != nil {
				return nil, err
			}
		}
	}
	if _, self := slices.BinarySearchFunc(e.links, h.id, comparePeer); self {
		return nil, malformed("a link with itself")
	}
	return e, nil
}

// follows tells whether a page may come after another. Links are compared when they are read.
func follows(last, p *page) bool {
	switch {
	case last.kind() != p.kind():
		return last.kind() < p.kind()
	case p.kind() == pageChain:
		return false
	case p.kind() == pageServices:
		return compareKey(last.last, p.first) < 0
	}
	return true
}

// chain returns the certificates that the signature goes with.
func (e *entry) chain() string {
	if len(e.parts) > 0 && e.parts[0].kind() == pageChain {
		return e.parts[0].raw[1:]
	}
	return ""
}

// changed returns the pages that whom has all since a version lacks.
func (e *entry) changed(since uint64) []*page {
	var pages []*page
	for i, p := range e.parts {
		if e.pages[i].changed > since {
			pages = append(pages, p)
		}
	}
	return pages
}

// services returns the services in pages of e that are not in other. Both may be nil.
func (e *entry) services(other *entry) []Service {
	if e == nil {
		return nil
	}
	var all []Service
	has := other.byHash()
	for _, p := range e.parts {
		if p.kind() == pageServices && has[p.hash] == nil {
			_ = eachService(p.raw, func(s Service) {
				s.Host = e.id
				all = append(all, s)
			})
		}
	}
	return all
}

// byHash returns the pages by their names. e may be nil.
func (e *entry) byHash() map[hash]*page {
	if e == nil {
		return nil
	}
	pages := make(map[hash]*page, len(e.parts))
	for _, p := range e.parts {
		pages[p.hash] = p
	}
	return pages
}
