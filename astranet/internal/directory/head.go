package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"
)

// Bounds of what a node can say of itself. They are part of the protocol: who says more is at fault.
const (
	MaxName     = 512 // bytes of a node's name
	MaxAddrs    = 16
	MaxAddr     = 255  // bytes of an address
	MaxPages    = 1024 // pages of an entry
	maxSig      = 1024
	maxVersion  = 1<<62 - 1
	headContext = "astranet directory 1\x00" // what is signed begins with it
)

// Flags are what a node says of itself. Those that are not known are kept and passed on.
type Flags uint64

const (
	Relay    Flags = 1 << iota // it hands on what is for others
	Draining                   // it is about to leave: no new connections, and no new ways through it if there are others
)

// A hash names a page by what is in it: the first half of its SHA-256.
type hash [16]byte

func hashOf(raw string) (h hash) {
	sum := sha256.Sum256([]byte(raw))
	copy(h[:], sum[:])
	return h
}

// head is the part of an entry that is signed. It vouches for the pages.
type head struct {
	id, life uint64
	version  uint64
	flags    Flags
	name     string
	addrs    []string
	pages    []ref
}

// ref names a page, and the version of the entry in which it came to be as it is.
type ref struct {
	changed uint64
	hash    hash
}

// append encodes the head:
//
//	id 8 | life 8 | version | flags | name | addresses n | n addresses | pages n | n times: changed, hash 16
//
// A number without a size is a uvarint in its shortest form, a text is its length and its bytes.
func (h *head) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, h.id)
	b = binary.BigEndian.AppendUint64(b, h.life)
	b = binary.AppendUvarint(b, h.version)
	b = binary.AppendUvarint(b, uint64(h.flags))
	b = appendText(b, h.name)
	b = binary.AppendUvarint(b, uint64(len(h.addrs)))
	for _, a := range h.addrs {
		b = appendText(b, a)
	}
	b = binary.AppendUvarint(b, uint64(len(h.pages)))
	for _, p := range h.pages {
		b = binary.AppendUvarint(b, p.changed)
		b = append(b, p.hash[:]...)
	}
	return b
}

func decodeHead(raw string) (h head, err error) {
	r := reader{rest: raw}
	h.id, h.life = r.u64(), r.u64()
	h.version = r.uvarint(maxVersion)
	h.flags = Flags(r.uvarint(1<<64 - 1))
	h.name = r.text(MaxName)
	for range r.uvarint(MaxAddrs) {
		h.addrs = append(h.addrs, r.text(MaxAddr))
	}
	n := r.uvarint(MaxPages)
	if n > uint64(len(r.rest)) { // allocate nothing for what is not there
		r.fail("cut off")
		n = 0
	}
	h.pages = make([]ref, n)
	for i := range h.pages {
		p := &h.pages[i]
		p.changed = r.uvarint(h.version)
		copy(p.hash[:], r.take(len(p.hash)))
	}
	if err := r.end(); err != nil {
		return head{}, err
	}
	return h, h.check()
}

func (h *head) check() error {
	if h.id == 0 || h.life == 0 || h.version == 0 {
		return malformed("no id, life or version")
	}
	for _, s := range append(h.addrs, h.name) {
		if !utf8.ValidString(s) {
			return malformed("text that is not UTF-8")
		}
	}
	return nil
}

// stamp tells states of an entry apart, and which of two is the newer one: the higher version, of two contradictory ones with the
// same version that with the higher tag. So nodes agree, whatever they hear first.
type stamp struct{ version, tag uint64 }

// stampOf returns the stamp of a head. Its tag is by what is signed, not by the signature: that can be made another by anybody.
func stampOf(version uint64, signed string) stamp {
	sum := sha256.Sum256([]byte(signed))
	return stamp{version, binary.BigEndian.Uint64(sum[:])}
}

func (s stamp) newer(than stamp) bool {
	return s.version > than.version || s.version == than.version && s.tag > than.tag
}

// since returns the version since which the pages that changed are to be sent to whom has this stamp, in order to bring it to s. Of an
// equal version with something else in it nothing is known.
func (s stamp) since(theirs stamp) uint64 {
	if theirs.version >= s.version {
		return 0
	}
	return theirs.version
}
