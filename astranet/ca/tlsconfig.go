package ca

import (
	"crypto/tls"
	"crypto/x509"
)

// ALPN is the application protocol of nodes, which both ends of a connection must speak.
const ALPN = "astranet/1"

// Server returns a configuration for the end of a connection that was dialled. It may be used for any number of
// connections, and changed before it is used. Each handshake shows the certificate that the node has then, and judges the other's
// by what is trusted and revoked then. TLS 1.3 only; the other end must have a certificate and speak [ALPN].
//
// There is no resumption, neither here nor in [Credentials.Client]: it would pass over the judgement.
func (c *Credentials) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{ALPN},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.state().certificate(), nil
		},
		ClientAuth:             tls.RequireAnyClientCert, // which verifyConnection verifies
		VerifyConnection:       c.verifyConnection,
		SessionTicketsDisabled: true,
	}
}

// Client is what [Credentials.Server] is for the end that dials. There need be no ServerName.
func (c *Credentials) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{ALPN},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.state().certificate(), nil
		},
		InsecureSkipVerify:     true, // it would check a host name; verifyConnection verifies
		VerifyConnection:       c.verifyConnection,
		SessionTicketsDisabled: true,
	}
}

// verifyConnection judges the other end in the middle of the handshake.
func (c *Credentials) verifyConnection(cs tls.ConnectionState) error {
	_, err := c.Peer(cs)
	return err
}

// Peer returns who the other end of a connection is. The connection's handshake must be complete, and one of
// [Credentials.Server] or [Credentials.Client], which fails if this does.
func (c *Credentials) Peer(cs tls.ConnectionState) (Identity, error) {
	if cs.NegotiatedProtocol != ALPN {
		return Identity{}, &Error{Reason: ErrForeign, Detail: notNode() + servedName(cs.PeerCertificates)}
	}
	return c.Verify(cs.PeerCertificates)
}

// servedName says whose certificate a stranger has shown, which tells where one has got to.
func servedName(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	return " (" + describe(chain[0]) + ")"
}
