package astranet

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/virtnet/virtnet/mux"
)

// A stream of a session begins with a request, to which the answer is one byte, or a refusal. After an answer that accepts, the stream is
// the connection. Integers are big-endian. docs/astranet.md, section 4.
//
//	request   kind 1 byte | length of what follows, 1 | port 4 | the dialler's port 4 | service
//	accepted  0
//	refused   code 1 | length 2 | reason
const (
	kindDial     = 1
	requestFixed = 8
	mostRequest  = 2 + 255
	maxReason    = 512

	// mostName is how long the full name of a service may be.
	mostName = 200
)

// Codes of a refusal.
const (
	codeAccepted = iota
	codeNoService
	codeRefused
	codeDenied
	codeUnknown // a request that this node does not know
	codeBusy    // of a tunnel: there are too many
)

// A refusal is why a dial is refused. The zero value is none.
type refusal struct {
	code   byte
	reason string
}

// err is what the dialler's error is.
func (r refusal) err() error {
	switch r.code {
	case codeNoService:
		return ErrNoService
	case codeDenied:
		return ErrDenied
	}
	return ErrRefused
}

// checkService returns why a full name is none, as a *net.AddrError, or nil.
func checkService(name string) error {
	switch {
	case len(name) > mostName:
		return &net.AddrError{Err: fmt.Sprintf("a service name has %d bytes at most, its environment included", mostName), Addr: quoteService(name)}
	case !isPrintable(name):
		return &net.AddrError{Err: "a service name is UTF-8 that can be printed", Addr: quoteService(name)}
	case strings.Contains(name, ":"):
		return &net.AddrError{Err: "a service name has no colon", Addr: name}
	}
	return nil
}

func quoteService(name string) string {
	if len(name) > 100 {
		name = cutText(name, 100) + "..."
	}
	return strconv.Quote(name)
}

// request is what a dial asks for.
type request struct {
	port, from uint32
	service    string // "" if the port alone is meant
}

func (r request) append(b []byte) []byte {
	b = append(b, kindDial, byte(requestFixed+len(r.service)))
	b = binary.BigEndian.AppendUint32(b, r.port)
	b = binary.BigEndian.AppendUint32(b, r.from)
	return append(b, r.service...)
}

// readRequest reads what a stream begins with.
func readRequest(r io.Reader) (q request, code byte, err error) {
	var b [mostRequest]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return q, 0, err
	}
	if b[0] != kindDial || b[1] < requestFixed {
		return q, codeUnknown, nil
	}
	p := b[2 : 2+int(b[1])]
	if _, err := io.ReadFull(r, p); err != nil {
		return q, 0, err
	}
	return parseRequest(p), codeAccepted, nil
}

// parseRequest parses what follows a request's length.
func parseRequest(p []byte) request {
	return request{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), string(p[requestFixed:])}
}

// requestSize is how long a request is, the beginning of which is b. It is 0 if b has not all of it, or it is of a kind that is not
// known.
func requestSize(b []byte) int {
	if len(b) < 2 || b[0] != kindDial || b[1] < requestFixed || len(b) < 2+int(b[1]) {
		return 0
	}
	return 2 + int(b[1])
}

// accepted is the answer that accepts a dial.
var accepted = []byte{codeAccepted}

// refuse tells the dialler why not, if it listens.
func refuse(st *mux.Stream, r refusal, deadline time.Time) {
	reason := cutText(r.reason, maxReason)
	b := append([]byte{r.code}, 0, 0)
	binary.BigEndian.PutUint16(b[1:], uint16(len(reason)))
	_ = st.SetWriteDeadline(deadline)
	if _, err := st.Write(append(b, reason...)); err != nil {
		_ = st.Reset(codeUnknown)
	}
	_ = st.Close()
}

// answerPatience is how long an end waits until the other takes an answer, or sends the rest of a request.
const answerPatience = 10 * time.Second

// readAnswer reads the answer to a request.
func readAnswer(r io.Reader) (refusal, error) {
	var b [3]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil || b[0] == codeAccepted {
		return refusal{}, err
	}
	if _, err := io.ReadFull(r, b[1:]); err != nil {
		return refusal{}, err
	}
	reason := make([]byte, min(int(binary.BigEndian.Uint16(b[1:])), maxReason))
	if _, err := io.ReadFull(r, reason); err != nil {
		return refusal{}, err
	}
	return refusal{b[0], string(reason)}, nil
}

// cutText cuts a text for people to at most n bytes.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
