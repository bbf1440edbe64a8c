package directory

import "encoding/binary"

// MaxMessage is how long a message between neighbours is at most.
const MaxMessage = 40 * 1024

// Kinds of messages between two neighbours, their first byte. Those of other kinds are ignored.
const (
	msgDigest = 1 // first 8 | last 8 | n times: id 8, version 8, tag 8: what the sender has of the nodes from first to last
	msgHead   = 2 // n | signature | head: the state of a node, of which the next n pages are sent
	msgPage   = 3 // page
	msgWant   = 4 // n times: id 8: what the receiver is to send whole
)

// maxDigest is how many nodes are in one message.
const maxDigest = 1000

// have says which state of a node's entry somebody has.
type have struct {
	id uint64
	stamp
}

// digest is what somebody has of the nodes from first to last; of what is not in it, nothing.
type digest struct {
	first, last uint64
	all         []have // by id
}

func (g digest) append(b []byte) []byte {
	b = append(b, msgDigest)
	b = binary.BigEndian.AppendUint64(b, g.first)
	b = binary.BigEndian.AppendUint64(b, g.last)
	for _, h := range g.all {
		b = binary.BigEndian.AppendUint64(b, h.id)
		b = binary.BigEndian.AppendUint64(b, h.version)
		b = binary.BigEndian.AppendUint64(b, h.tag)
	}
	return b
}

func decodeDigest(body string) (g digest, err error) {
	r := reader{rest: body}
	g.first, g.last = r.u64(), r.u64()
	g.all = make([]have, 0, len(r.rest)/24)
	for r.rest != "" && r.err == nil {
		h := have{r.u64(), stamp{r.u64(), r.u64()}}
		if n := len(g.all); h.id < g.first || h.id > g.last || n > 0 && h.id <= g.all[n-1].id {
			r.fail("nodes out of order")
		}
		g.all = append(g.all, h)
	}
	if len(g.all) > maxDigest || g.first > g.last {
		r.fail("%d nodes from %x to %x", len(g.all), g.first, g.last)
	}
	return g, r.end()
}

func appendHead(b []byte, e *entry, pages int) []byte {
	b = append(b, msgHead)
	b = binary.AppendUvarint(b, uint64(pages))
	b = appendText(b, e.sig)
	return append(b, e.signed...)
}

// headMessage is a head as it comes.
type headMessage struct {
	head
	pages       int // how many of its pages come next
	sig, signed string
}

func decodeHeadMessage(body string) (m headMessage, err error) {
	r := reader{rest: body}
	m.pages = int(r.uvarint(MaxPages))
	m.sig = r.text(maxSig)
	if r.err != nil {
		return m, r.err
	}
	m.signed = r.rest
	if m.head, err = decodeHead(m.signed); err == nil && m.pages > len(m.head.pages) {
		err = malformed("%d pages of %d", m.pages, len(m.head.pages))
	}
	return m, err
}

func appendWant(b []byte, ids []uint64) []byte {
	b = append(b, msgWant)
	for _, id := range ids {
		b = binary.BigEndian.AppendUint64(b, id)
	}
	return b
}

func decodeWant(body string) (ids []uint64, err error) {
	r := reader{rest: body}
	for r.rest != "" && r.err == nil {
		ids = append(ids, r.u64())
	}
	if len(ids) > maxDigest {
		r.fail("%d wanted", len(ids))
	}
	return ids, r.end()
}
