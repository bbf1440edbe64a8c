package astranet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// A link begins with a hello and a verdict of each end, sent without waiting for the other's. After two verdicts that admit, the link is
// a mux session, whose client is the end with the lower id. docs/astranet.md, section 2.
//
//	hello    "astranet" | lowest version 1 | highest version 1 | length 2 | fields
//	field    type 2 | length 2 | value
//	verdict  code 1 | length 2 | reason
//
// A receiver ignores fields that it does not know.
const (
	helloMagic  = "astranet"
	helloFixed  = len(helloMagic) + 4
	maxHello    = 4096
	maxName     = 255
	linkVersion = 1

	fieldID       = 1 // 8 bytes
	fieldLife     = 2 // 8 bytes: another number in every process that has the id
	fieldFeatures = 3 // 8 bytes, one bit each: none yet
	fieldFlags    = 4 // 1 byte
	fieldName     = 5 // text: what the sender is called, for errors. What counts is its certificate

	flagStandby = 1 // use another link as long as there is one
)

// Codes of a verdict, and of the end of a link.
const (
	linkAdmitted  = iota
	linkClosed    // the node is closed
	linkVersions  // no version in common
	linkDuplicate // there is a link already
	linkSelf      // it is the node itself
	linkIdentity  // another node has that id
	linkTLS       // the node wants TLS
	linkDenied    // the certificate is refused
	linkBusy      // too much at once
)

// hello is what an end says of itself.
type hello struct {
	lowest, highest byte
	id, life        uint64
	features        uint64
	flags           byte
	name            string
}

func (h hello) encode() []byte {
	b := append([]byte(helloMagic), h.lowest, h.highest, 0, 0)
	field := func(kind, size int) { b = binary.BigEndian.AppendUint32(b, uint32(kind)<<16|uint32(size)) }
	for _, f := range []struct {
		kind  int
		value uint64
	}{{fieldID, h.id}, {fieldLife, h.life}, {fieldFeatures, h.features}} {
		field(f.kind, 8)
		b = binary.BigEndian.AppendUint64(b, f.value)
	}
	field(fieldFlags, 1)
	b = append(b, h.flags)
	if h.name != "" {
		name := cutText(h.name, maxName)
		field(fieldName, len(name))
		b = append(b, name...)
	}
	binary.BigEndian.PutUint16(b[helloFixed-2:], uint16(len(b)-helloFixed))
	return b
}

// readHello reads a hello.
func readHello(r io.Reader) (h hello, err error) {
	var b [helloFixed]byte
	if _, err := io.ReadFull(r, b[:len(helloMagic)]); err != nil { // what is no node may send no more than that
		return h, cutShort(err)
	}
	if err := checkMagic(b[:len(helloMagic)]); err != nil {
		return h, err
	}
	if _, err := io.ReadFull(r, b[len(helloMagic):]); err != nil {
		return h, cutShort(err)
	}
	h.lowest, h.highest = b[helloFixed-4], b[helloFixed-3]
	size := int(binary.BigEndian.Uint16(b[helloFixed-2:]))
	if size > maxHello {
		return h, malformed(fmt.Sprintf("%d bytes of fields, more than %d", size, maxHello))
	}
	fields := make([]byte, size)
	if _, err := io.ReadFull(r, fields); err != nil {
		return h, cutShort(err)
	}
	return h, h.decode(fields)
}

// A helloError is why what came is no hello.
type helloError struct {
	here, there string // what to say at this end, and to the other
}

func (e *helloError) Error() string { return e.here }

func malformed(what string) error {
	return &helloError{"the other end's hello is malformed: " + what, "the hello is malformed: " + what}
}

// checkMagic tells what it is that does not begin as a hello.
func checkMagic(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte(helloMagic)):
		return nil
	case bytes.HasPrefix(b, []byte(tossMagic)):
		return &helloError{"the other end has attached the connection, and this one was dialled or taken", "who attaches a connection wants another that does"}
	case b[0] == tlsRecord && b[1] == 3:
		return &helloError{"the other end speaks TLS: it has Credentials, and this node has none", "it has no Credentials"}
	}
	return &helloError{fmt.Sprintf("the other end is no node: it begins with %q", b), "what came is no hello"}
}

func (h *hello) decode(b []byte) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return malformed("a field is cut off")
		}
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		b = b[4:]
		if size > len(b) {
			return malformed("a field is cut off")
		}
		if err := h.field(kind, b[:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	switch {
	case h.lowest == 0 || h.highest < h.lowest:
		return malformed(fmt.Sprintf("versions %d to %d", h.lowest, h.highest))
	case h.id == 0 || h.life == 0:
		return malformed("it has no id, or no life")
	}
	return nil
}

func (h *hello) field(kind uint16, v []byte) error {
	size := map[uint16]int{fieldID: 8, fieldLife: 8, fieldFeatures: 8, fieldFlags: 1, fieldName: min(len(v), maxName)}
	if want, known := size[kind]; known && len(v) != want {
		return malformed(fmt.Sprintf("field %d has %d bytes", kind, len(v)))
	}
	switch kind {
	case fieldID:
		h.id = binary.BigEndian.Uint64(v)
	case fieldLife:
		h.life = binary.BigEndian.Uint64(v)
	case fieldFeatures:
		h.features = binary.BigEndian.Uint64(v)
	case fieldFlags:
		h.flags = v[0]
	case fieldName:
		h.name = strings.ToValidUTF8(string(v), "?")
	}
	return nil
}

// cutShort says what it means that the other end has closed in the middle.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the other end has closed the connection before it was a link: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// verdict is an end's decision on a link.
type verdict struct {
	code   byte
	reason string
}

func (v verdict) encode() []byte {
	reason := cutText(v.reason, maxReason)
	b := []byte{v.code, 0, 0}
	binary.BigEndian.PutUint16(b[1:], uint16(len(reason)))
	return append(b, reason...)
}

func readVerdict(r io.Reader) (verdict, error) {
	var b [3]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return verdict{}, cutShort(err)
	}
	size := int(binary.BigEndian.Uint16(b[1:]))
	if size > maxReason {
		return verdict{}, fmt.Errorf("the other end's verdict has a reason of %d bytes, more than %d", size, maxReason)
	}
	reason := make([]byte, size)
	if _, err := io.ReadFull(r, reason); err != nil {
		return verdict{}, cutShort(err)
	}
	return verdict{b[0], strings.ToValidUTF8(string(reason), "?")}, nil
}

// A verdictError is why there is no link, or none any more.
type verdictError struct {
	verdict
	remote bool // the other end's word
	ended  bool // there was a link
}

func (e *verdictError) Error() string {
	who, what := "this node", "refuses"
	if e.remote {
		who = "the other node"
	}
	if e.ended {
		what = "has ended"
	}
	return who + " " + what + " the link: " + e.text()
}

func (v verdict) text() string {
	texts := [...]string{"admitted", "it is closed", "no version in common", "there is a link already", "it is the node itself",
		"another node has this id", "it wants TLS", "identity", "too much at once"}
	if v.reason != "" {
		return printable(v.reason)
	}
	if int(v.code) < len(texts) {
		return texts[v.code]
	}
	return fmt.Sprintf("code %d", v.code)
}

// final tells whether there is no point in trying again.
func (e *verdictError) final() bool {
	switch e.code {
	case linkVersions, linkIdentity, linkTLS, linkDenied, linkSelf:
		return true
	}
	return false
}

// linked tells whether it is as good as a link.
func (e *verdictError) linked() bool { return e.code == linkDuplicate }
