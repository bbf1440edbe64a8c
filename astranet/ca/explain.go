package ca

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Explain says what an error of a handshake means, or of the first Read after one: that of a connection made with
// [Credentials.Server] or [Credentials.Client]. If it knows, it returns an [*Error] with err in it, and otherwise err.
//
// TLS tells an end that it was refused, but hardly why. If the node's own certificate is not good any more, Explain says
// that.
func (c *Credentials) Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &Error{Reason: ErrForeign, Err: err,
			Detail: fmt.Sprintf("the other end does not speak TLS: it has sent %q", record.RecordHeader[:])}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return c.explainAlert(op.Err.Error(), err)
	}
	return explainLocal(err)
}

// The alerts that Explain knows (RFC 8446, section 6).
const (
	handshakeFailure   tls.AlertError = 40
	badCertificate     tls.AlertError = 42
	accessDenied       tls.AlertError = 49
	unknownAuthority   tls.AlertError = 48
	protocolVersion    tls.AlertError = 70
	unrecognizedName   tls.AlertError = 112
	certificateNeeded  tls.AlertError = 116
	noApplicationProto tls.AlertError = 120
)

// explainAlert explains an alert, of which package tls gives the text only.
func (c *Credentials) explainAlert(text string, err error) error {
	is := func(alerts ...tls.AlertError) bool {
		for _, a := range alerts {
			if text == a.Error() {
				return true
			}
		}
		return false
	}
	switch {
	case is(noApplicationProto):
		return &Error{Reason: ErrForeign, Err: err, Detail: notNode()}
	case is(protocolVersion, handshakeFailure, unrecognizedName):
		return &Error{Reason: ErrForeign, Err: err, Detail: fmt.Sprintf("the other end does not speak TLS 1.3 as nodes do (%s)", text)}
	case is(badCertificate, 43, 44, 45, 46, unknownAuthority, accessDenied, certificateNeeded):
		return &Error{Reason: ErrRefused, Err: err, Detail: c.whyRefused(text)}
	}
	return err
}

// whyRefused says what is known here of why the other end does not accept this node's certificate.
func (c *Credentials) whyRefused(text string) string {
	s := c.state()
	own := describe(s.chain[0])
	if _, err := s.verify(s.chain); err != nil {
		return fmt.Sprintf("the other end has refused this node (%s): %v", text, err)
	}
	return fmt.Sprintf("the other end has refused this node (%s). The %s, issued by %q, is good as far as is known here; "+
		"the other end may trust other authorities, have it revoked, or have another time: it knows why", text, own, issuerName(s.chain[0]))
}

// notNode says what is known of an end that speaks TLS, but not our protocol.
func notNode() string {
	return fmt.Sprintf("the other end is no node: it speaks TLS, but not %q in it", ALPN)
}

// explainLocal explains what package tls says of the other end in words only. If these change, err is returned as it is.
func explainLocal(err error) error {
	for _, known := range []struct {
		says, detail string
		reason       error
	}{
		{"client didn't provide a certificate",
			"the other end has shown no certificate: it is no node, or one without credentials", ErrNoCertificate},
		{"client offered only unsupported versions", "the other end does not speak TLS 1.3", ErrForeign},
		{"server selected unsupported protocol version", "the other end does not speak TLS 1.3", ErrForeign},
		{"client requested unsupported application protocols", notNode(), ErrForeign},
	} {
		if strings.Contains(err.Error(), known.says) {
			return &Error{Reason: known.reason, Detail: known.detail, Err: err}
		}
	}
	return err
}
