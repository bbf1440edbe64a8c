package mux

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Sizes of the payloads of the frames that a new carrier begins with.
const (
	resumeSize    = len(sessionID{}) + 8 + nonceSize
	challengeSize = nonceSize + 8 + macSize
	proofSize     = 8 + 8 + macSize
)

// Codes of a refuse frame.
const (
	refuseUnknown = iota + 1 // there is no such session
	refuseStale              // the session has a carrier of a higher epoch
	refuseEnded              // this end has ended the session; the payload is its close frame
	refuseClosed             // no session is resumed any more
)

// A refusedError is why the other end does not resume a session.
type refusedError struct {
	code uint64
	end  *SessionError // with refuseEnded
}

// Error says what the code means.
func (e *refusedError) Error() string {
	switch e.code {
	case refuseUnknown:
		return "the other end does not know the session: it was restarted, or has waited for too long"
	case refuseStale:
		return "the session has moved to a newer carrier"
	case refuseEnded:
		return "the other end has ended the session"
	case refuseClosed:
		return "the other end resumes no sessions any more"
	}
	return fmt.Sprintf("the other end refuses (code %d)", e.code)
}

// The frames, encoded.

func (t *transcript) appendResume(b []byte) []byte {
	b = header{kind: kindResume, size: resumeSize, id: protocolID}.append(b)
	b = append(b, t.id[:]...)
	b = binary.BigEndian.AppendUint64(b, t.epoch)
	return append(b, t.nonceC[:]...)
}

func (t *transcript) appendChallenge(b, master []byte) []byte {
	b = header{kind: kindChallenge, size: challengeSize}.append(b)
	b = append(b, t.nonceS[:]...)
	b = binary.BigEndian.AppendUint64(b, t.offS)
	return append(b, t.macS(master)...)
}

func (t *transcript) appendProof(b, master []byte) []byte {
	b = header{kind: kindProof, size: proofSize}.append(b)
	b = appendUint64s(b, t.offC, t.from)
	return append(b, t.macC(master)...)
}

// appendRefuse encodes a refusal; end is why the session has ended, if that is why.
func appendRefuse(b []byte, code uint64, end *SessionError) []byte {
	var payload []byte
	if end != nil {
		payload = end.append(nil)
	}
	return append(header{kind: kindRefuse, size: len(payload), id: code}.append(b), payload...)
}

// append encodes the close frame that says why a session has ended.
func (e *SessionError) append(b []byte) []byte {
	reason := shorten(e.Reason, maxReason)
	h := header{kind: kindClose, flag: e.Protocol, size: len(reason), id: e.Code}
	return append(h.append(b), reason...)
}

// And decoded. Payloads have the size that the header says, and checkHandshake has looked at that.

func (t *transcript) parseResume(p []byte) {
	copy(t.id[:], p)
	p = p[len(t.id):]
	t.epoch = binary.BigEndian.Uint64(p)
	copy(t.nonceC[:], p[8:])
}

// parseChallenge returns the other end's MAC.
func (t *transcript) parseChallenge(p []byte) (mac []byte) {
	copy(t.nonceS[:], p)
	t.offS = binary.BigEndian.Uint64(p[nonceSize:])
	return p[nonceSize+8:]
}

// parseProof returns the other end's MAC.
func (t *transcript) parseProof(p []byte) (mac []byte) {
	t.offC = binary.BigEndian.Uint64(p)
	t.from = binary.BigEndian.Uint64(p[8:])
	return p[16:]
}

func parseRefuse(h header, p []byte) *refusedError {
	e := &refusedError{code: h.id}
	if h.id != refuseEnded || len(p) < headerSize {
		return e
	}
	c := parseHeader(p)
	if c.kind == kindClose && c.check() == nil && len(p) == headerSize+c.size {
		e.end = &SessionError{Code: c.id, Reason: string(p[headerSize:]), Remote: true, Protocol: c.flag}
	}
	return e
}

// checkHandshake tells whether a frame that a carrier begins with may have such a header.
func (h header) checkHandshake() bool {
	if h.flag {
		return false
	}
	switch h.kind {
	case kindHello:
		return h.size <= maxHello && h.size%16 == 0
	case kindResume:
		return h.size == resumeSize
	case kindChallenge:
		return h.size == challengeSize && h.id == 0
	case kindProof:
		return h.size == proofSize && h.id == 0
	case kindRefuse:
		return h.size <= headerSize+maxReason
	}
	return false
}

// readHandshake reads one frame of those that a carrier begins with, and not a byte more. It is of one of two kinds.
func readHandshake(r io.Reader, one, other kind) (h header, frame []byte, err error) {
	var first [headerSize]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return h, nil, err
	}
	h = parseHeader(first[:])
	if h.kind != one && h.kind != other || !h.checkHandshake() {
		return h, nil, protocolErrorf(codeFrame, "what came is not %v or %v of this protocol: it begins with %q", one, other, first[:])
	}
	frame = make([]byte, headerSize+h.size)
	copy(frame, first[:])
	_, err = io.ReadFull(r, frame[headerSize:])
	return h, frame, err
}
