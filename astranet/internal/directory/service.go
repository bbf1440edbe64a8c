package directory

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	MaxServiceName = 255
	MaxTags        = 32
	MaxTag         = 255 // bytes of a tag
	MaxTagsSize    = 1024
)

// A Service is an instance of a service: somebody who serves a name at a port of a node. Two are of the same instance if Name, Host
// and Port are equal, and say the same if they are ==.
type Service struct {
	Name   string
	Host   uint64 // the node
	Port   uint32
	Weight uint16 // how much it wants, of those of its name
	Flags  ServiceFlags
	Tags   Tags
}

// ServiceFlags say how a service is meant. Those that are not known are kept and passed on.
type ServiceFlags uint8

// Unlisted services are found by whoever knows the name, and are in no list.
const Unlisted ServiceFlags = 1

// Tags are what a service says of itself: a set of texts, each of 1 to 255 bytes. Equal sets are ==. The zero value is the empty set.
type Tags struct{ raw string } // as it is sent, in order; "" if there are none

// MakeTags makes a set of texts.
func MakeTags(texts ...string) (Tags, error) {
	if len(texts) == 0 {
		return Tags{}, nil
	}
	texts = slices.Compact(slices.Sorted(slices.Values(texts)))
	b := binary.AppendUvarint(nil, uint64(len(texts)))
	for _, t := range texts {
		b = appendText(b, t)
	}
	r := reader{rest: string(b)}
	t := r.tags()
	return t, r.end()
}

// tags reads a set.
func (r *reader) tags() Tags {
	all := r.rest
	n, last := r.uvarint(MaxTags), ""
	for range n {
		t := r.text(MaxTag)
		if r.err == nil && (t <= last || !utf8.ValidString(t)) {
			r.fail("tags out of order")
		}
		last = t
	}
	raw := all[:len(all)-len(r.rest)]
	if r.err != nil || n == 0 {
		return Tags{}
	}
	if len(raw) > MaxTagsSize {
		r.fail("%d bytes of tags, at most %d", len(raw), MaxTagsSize)
		return Tags{}
	}
	return Tags{raw}
}

// All yields the tags in order. It allocates nothing.
func (t Tags) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		r := reader{rest: t.raw}
		if t.raw == "" {
			return
		}
		for range r.uvarint(MaxTags) {
			if !yield(r.text(MaxTag)) {
				return
			}
		}
	}
}

// Has tells whether a text is among them. It allocates nothing.
func (t Tags) Has(text string) bool {
	for s := range t.All() {
		if s == text {
			return true
		}
	}
	return false
}

func (t Tags) String() string { return strings.Join(slices.Collect(t.All()), " ") }

// compareKey orders the services of one node.
func compareKey(a, b Service) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
}

// compareInstance orders the instances of one service.
func compareInstance(a, b Service) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}

func (s Service) check() error {
	switch {
	case s.Name == "":
		return errors.New("a service needs a name")
	case len(s.Name) > MaxServiceName:
		return fmt.Errorf("a service's name has %d bytes, at most %d", len(s.Name), MaxServiceName)
	case !utf8.ValidString(s.Name):
		return errors.New("a service's name must be UTF-8")
	}
	return nil
}
