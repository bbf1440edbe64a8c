package lonet

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/hostname"
)

// The handshake: one line each way on a fresh TCP connection (docs/lonet.md, section 4).
//
//	> lonet "<network>" dial "<src host:port>" "<dst host:port>"\n
//	< lonet "<network>" connected "<dst host:accepted port>"\n
//	< lonet "<network>" E "<error>"\n
//
// Strings are quoted as by Go's %q. After "connected" the connection is the users'.

// maxLine is how long a line may be, its newline included.
const maxLine = 1024

// Errors that the acceptor answers to a request that is not in order. Their texts are the protocol's.
var (
	errBadRequest = errors.New("protocol error: invalid dial request")
	errMismatch   = errors.New("protocol error: network mismatch")
	errBadSrc     = errors.New("protocol error: src address invalid")
	errBadDst     = errors.New("protocol error: dst address invalid")
)

// request is what a dialler asks.
type request struct {
	network  string
	src, dst string
}

// reply is what the acceptor answers.
type reply struct {
	network  string
	accepted string // the address that accepted; empty if there is an error
	err      string // why not
}

func (r request) append(b []byte) []byte {
	b = strconv.AppendQuote(append(b, "> lonet "...), r.network)
	b = strconv.AppendQuote(append(b, " dial "...), r.src)
	b = strconv.AppendQuote(append(b, ' '), r.dst)
	return append(b, '\n')
}

func (r reply) append(b []byte) []byte {
	b = strconv.AppendQuote(append(b, "< lonet "...), r.network)
	if r.accepted != "" {
		b = strconv.AppendQuote(append(b, " connected "...), r.accepted)
	} else {
		b = strconv.AppendQuote(append(b, " E "...), r.err)
	}
	return append(b, '\n')
}

// parseRequest parses a line, without its newline.
func parseRequest(line []byte) (r request, ok bool) {
	s := scanner(line)
	ok = s.word("> lonet ") && s.quoted(&r.network) && s.word(" dial ") && s.quoted(&r.src) &&
		s.word(" ") && s.quoted(&r.dst) && len(s) == 0
	return r, ok
}

// parseReply parses a line, without its newline.
func parseReply(line []byte) (r reply, ok bool) {
	s := scanner(line)
	if !s.word("< lonet ") || !s.quoted(&r.network) {
		return reply{}, false
	}
	if s.word(" connected ") {
		ok = s.quoted(&r.accepted) && r.accepted != ""
	} else {
		ok = s.word(" E ") && s.quoted(&r.err)
	}
	return r, ok && len(s) == 0
}

// scanner takes a line apart from its front.
type scanner []byte

func (s *scanner) word(w string) bool {
	rest, ok := bytes.CutPrefix(*s, []byte(w))
	if ok {
		*s = rest
	}
	return ok
}

// quoted takes a double-quoted string.
func (s *scanner) quoted(to *string) bool {
	if len(*s) == 0 || (*s)[0] != '"' { // QuotedPrefix would also take ' and `
		return false
	}
	// Most strings have nothing that is escaped.
	if end := bytes.IndexByte((*s)[1:], '"'); end >= 0 && bytes.IndexByte((*s)[1:1+end], '\\') < 0 {
		*to = string((*s)[1 : 1+end])
		*s = (*s)[end+2:]
		return true
	}
	q, err := strconv.QuotedPrefix(string(*s))
	if err != nil {
		return false
	}
	*s = (*s)[len(q):]
	*to, err = strconv.Unquote(q)
	return err == nil
}

// check parses the addresses of a request made to network.
func (r request) check(network string) (src, dst *virtnet.Addr, err error) {
	if r.network != network {
		return nil, nil, errMismatch
	}
	// Names that no host can have are not let in: they could not be answered in a line, or fool who prints them.
	if src, err = virtnet.ParseAddr(network, r.src); err != nil || hostname.Check(src.Host) != nil {
		return nil, nil, errBadSrc
	}
	if dst, err = virtnet.ParseAddr(network, r.dst); err != nil || hostname.Check(dst.Host) != nil {
		return nil, nil, errBadDst
	}
	return src, dst, nil
}

// check returns the address that accepted a dial to dst, or why there is none.
func (r reply) check(dst *virtnet.Addr) (*virtnet.Addr, error) {
	switch {
	case r.network != dst.Net:
		return nil, fmt.Errorf("protocol error: reply from network %s", shorten(strconv.Quote(r.network)))
	case r.accepted == "" && r.err == virtnet.ErrConnRefused.Error():
		return nil, virtnet.ErrConnRefused
	case r.accepted == "" && r.saysNoHost():
		return nil, virtnet.ErrNoHost
	case r.accepted == "":
		return nil, fmt.Errorf("remote: %s", shorten(r.err))
	}
	a, err := virtnet.ParseAddr(dst.Net, r.accepted)
	switch {
	case err != nil || a.Port == 0:
		return nil, fmt.Errorf("protocol error: accept address %s invalid", shorten(strconv.Quote(r.accepted)))
	case a.Host != dst.Host:
		return nil, fmt.Errorf("protocol error: accept address %s is on another host", shorten(strconv.Quote(r.accepted)))
	}
	return a, nil
}

// saysNoHost tells whether the reply says that the host isn't on the sub-network that was asked.
func (r reply) saysNoHost() bool {
	return strings.HasPrefix(r.err, "address ") && strings.HasSuffix(r.err, ": "+virtnet.ErrNoHost.Error())
}

// shorten bounds what a stranger puts into our errors and logs to 200 bytes, and escapes what is not printable, which
// could do things to a terminal or a log.
func shorten(s string) string {
	const most, ellipsis = 200, "…"
	var b []byte
	cut := 0 // where b can be cut
	for size := 0; len(s) > 0; s = s[size:] {
		var r rune
		switch r, size = utf8.DecodeRuneInString(s); {
		case r == utf8.RuneError && size == 1:
			b = fmt.Appendf(b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b = append(b, s[:size]...)
		default:
			q := strconv.QuoteRune(r)
			b = append(b, q[1:len(q)-1]...)
		}
		if len(b) > most {
			return string(b[:cut]) + ellipsis
		}
		if len(b) <= most-len(ellipsis) {
			cut = len(b)
		}
	}
	return string(b)
}
