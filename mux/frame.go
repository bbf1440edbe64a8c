package mux

import "encoding/binary"

// The protocol is docs/mux.md. Every frame is a header and a payload; integers are big-endian.
//
//	 0        1                          4                                   12
//	+--------+--------------------------+-----------------------------------+---------
//	|  kind  |          length          |                id                 | payload
//	+--------+--------------------------+-----------------------------------+---------
//
// The top bit of kind is a flag. What id means depends on the kind: a stream, or the frame's only value, so that
// most control frames have no payload.
//
//	hello    both ends, first:     id says which protocol, the payload is pairs of a setting and its value
//	open     opener → other end:   a stream begins. The ids of an end's streams go up by two
//	data     either direction:     bytes of a stream; with the flag it is the stream's last
//	reset    sender → receiver:    the stream's bytes end here, unfinished; the payload is a code
//	stop     receiver → sender:    please send no more; the payload is a code. The answer is fin or reset
//	credit   receiver → sender:    the payload is how many bytes of the stream may be sent in all
//	limit    receiver → sender:    id is how many bytes of all streams together may be sent in all
//	streams  acceptor → opener:    id is how many streams may be opened in all
//	ping     → pong                id comes back as it was
//	goaway   either direction:     open no more streams
//	close    last:                 id is a code, the payload says why; with the flag the code is the protocol's
//	key      right behind hello:   what the keys are made of, if the session is to be resumable; with id 1 the carrier is TLS
//	ack      receiver → sender:    id is how many bytes have come, frames and all
//
// For those that a new carrier of an old session begins with, see move.go.
const headerSize = 12

type kind byte

const (
	kindHello kind = iota + 1
	kindOpen
	kindData
	kindReset
	kindStop
	kindCredit
	kindLimit
	kindStreams
	kindPing
	kindPong
	kindGoAway
	kindClose
	kindKey
	kindAck
	kindResume
	kindChallenge
	kindProof
	kindRefuse

	flagFin   = 0x80 // of data
	flagProto = 0x80 // of close
)

const (
	protocolID = 'v'<<56 | 'i'<<48 | 'r'<<40 | 't'<<32 | 'm'<<24 | 'u'<<16 | 'x'<<8 | 1

	maxData   = 128 << 10 // payload of a data frame, unless the other end's hello says that it takes more
	mostData  = 136 << 10 // payload that this end takes: a session inside the stream has a header and maxData, and maybe a few more
	maxReason = 1024      // payload of a close frame
	maxHello  = 64 * 16   // payload of a hello frame

	// What an end may do before it has the other's hello. Nobody's limits are lower.
	firstCredit  = 64 << 10
	firstLimit   = 1 << 20
	firstStreams = 16
)

// Settings, in the payload of hello. Those that an end doesn't know it ignores.
const (
	settingCredit  = 1 // bytes that may be sent on a new stream
	settingLimit   = 2 // as a limit frame
	settingStreams = 3 // as a streams frame
	settingResume  = 4 // 1: the session is to be resumable; a key frame follows
	settingData    = 5 // bytes that a data frame may have
)

// header is the first part of a frame, decoded.
type header struct {
	kind kind
	flag bool
	size int
	id   uint64
}

// put encodes h into b.
func (h header) put(b *[headerSize]byte) {
	k := uint64(h.kind)
	if h.flag {
		k |= flagFin
	}
	binary.BigEndian.PutUint32(b[:4], uint32(k<<24)|uint32(h.size))
	binary.BigEndian.PutUint64(b[4:], h.id)
}

func (h header) append(b []byte) []byte {
	var enc [headerSize]byte
	h.put(&enc)
	return append(b, enc[:]...)
}

// parseHeader decodes the header at the beginning of b, which has at least headerSize bytes.
func parseHeader(b []byte) header {
	first := binary.BigEndian.Uint32(b)
	return header{
		kind: kind(first >> 24 &^ flagFin),
		flag: first>>24&flagFin != 0,
		size: int(first & (1<<24 - 1)),
		id:   binary.BigEndian.Uint64(b[4:]),
	}
}

// appendValue encodes a frame whose payload is one number.
func appendValue(b []byte, k kind, id, value uint64) []byte {
	b = header{kind: k, size: 8, id: id}.append(b)
	return binary.BigEndian.AppendUint64(b, value)
}

// appendPlain encodes a frame without payload.
func appendPlain(b []byte, k kind, id uint64) []byte { return header{kind: k, id: id}.append(b) }

func appendUint64s(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// check tells whether a frame of this kind may have such a header, without regard to the state of anything. Frames that
// pass have a payload that is data or fits into a small buffer.
func (h header) check() error {
	ok := false
	switch h.kind {
	case kindData:
		ok = h.size <= mostData && h.id != 0
	case kindOpen:
		ok = h.size == 0 && h.id != 0 && !h.flag
	case kindReset, kindStop, kindCredit:
		ok = h.size == 8 && h.id != 0 && !h.flag
	case kindLimit, kindStreams, kindPing, kindPong, kindAck:
		ok = h.size == 0 && !h.flag
	case kindGoAway:
		ok = h.size == 0 && h.id == 0 && !h.flag
	case kindHello:
		ok = h.size <= maxHello && h.size%16 == 0 && !h.flag
	case kindClose:
		ok = h.size <= maxReason
	case kindKey:
		ok = h.size == keySize && !h.flag
	}
	if !ok {
		return protocolErrorf(codeFrame, "invalid frame: kind %d, flag %v, length %d, id %d", h.kind, h.flag, h.size, h.id)
	}
	return nil
}

// String names the kind.
func (k kind) String() string {
	names := [...]string{"?", "hello", "open", "data", "reset", "stop", "credit", "limit", "streams", "ping", "pong", "goaway", "close",
		"key", "ack", "resume", "challenge", "proof", "refuse"}
	if int(k) >= len(names) {
		k = 0
	}
	return names[k]
}
