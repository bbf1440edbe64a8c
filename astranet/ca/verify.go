package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxChain is how many certificates a node may show. Authorities stand on each other's shoulders, but not that high.
const maxChain = 10

// verify is [Credentials.Verify].
func (s *state) verify(chain []*x509.Certificate) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, &Error{Reason: ErrNoCertificate, Detail: "the other end has shown no certificate"}
	}
	leaf := chain[0]
	if len(chain) > maxChain {
		return Identity{}, &Error{Reason: ErrInvalid, Cert: leaf,
			Detail: fmt.Sprintf("comes with %d others, at most %d do", len(chain)-1, maxChain-1)}
	}
	name, kind, problem := nameOf(leaf)
	if problem != "" {
		return Identity{}, &Error{Reason: ErrName, Cert: leaf, Detail: "cannot be a node's: " + problem}
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots:         s.pool,
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkUsage wants more than one of several
	})
	if err != nil {
		return Identity{}, s.explainX509(leaf, err)
	}
	var first error
	for _, path := range paths {
		err := errors.Join(checkUsage(path), s.checkRevoked(path), checkConstraints(path, kind))
		if err == nil {
			return Identity{Name: name, Chain: chain, Expires: expires(path)}, nil
		}
		if first == nil {
			first = firstOf(err)
		}
	}
	return Identity{}, first
}

// firstOf returns the first of joined errors.
func firstOf(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[0]
	}
	return err
}

func expires(path []*x509.Certificate) time.Time {
	first := path[0].NotAfter
	for _, cert := range path[1:] {
		if cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}

// explainX509 says in our words why package x509 does not accept leaf.
func (s *state) explainX509(leaf *x509.Certificate, err error) error {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return notYet(invalid.Cert, now, err)
		}
		return expired(invalid.Cert, err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &Error{Reason: ErrUnknownAuthority, Cert: leaf, Err: err, Detail: s.whoIssued(leaf)}
	}
	return &Error{Reason: ErrInvalid, Cert: leaf, Err: err, Detail: "is not valid: " + strings.TrimPrefix(err.Error(), "x509: ")}
}

// checkTime checks that a certificate is valid now.
func checkTime(cert *x509.Certificate) error {
	switch now := time.Now(); {
	case now.Before(cert.NotBefore):
		return notYet(cert, now, nil)
	case now.After(cert.NotAfter):
		return expired(cert, nil)
	}
	return nil
}

func notYet(cert *x509.Certificate, now time.Time, err error) error {
	return &Error{Reason: ErrNotYetValid, Cert: cert, At: cert.NotBefore, Err: err,
		Detail: fmt.Sprintf("is not valid before %s, and here it is %s: is a clock wrong?", stamp(cert.NotBefore), stamp(now))}
}

func expired(cert *x509.Certificate, err error) error {
	return &Error{Reason: ErrExpired, Cert: cert, At: cert.NotAfter, Err: err, Detail: "expired on " + stamp(cert.NotAfter)}
}

// whoIssued says who has issued leaf, and who should have.
func (s *state) whoIssued(leaf *x509.Certificate) string {
	var trusted []string
	for _, root := range s.roots {
		if name := fmt.Sprintf("%q", authorityName(root)); !slices.Contains(trusted, name) {
			trusted = append(trusted, name)
		}
		if bytes.Equal(root.RawSubject, leaf.RawIssuer) {
			return fmt.Sprintf("is issued by an authority that is called %q, as one that is trusted here, but has another key: "+
				"it is another one, or a new one whose certificate is not among the roots here", issuerName(leaf))
		}
	}
	return fmt.Sprintf("is issued by %q, which is not trusted here, nor is an authority above it that it has shown: trusted is %s",
		issuerName(leaf), strings.Join(trusted, ", "))
}

// checkUsage checks that a node may have the certificate at the beginning of a path.
func checkUsage(path []*x509.Certificate) error {
	leaf := path[0]
	wrong := func(detail string) error { return &Error{Reason: ErrUsage, Cert: leaf, Detail: detail} }
	switch {
	case leaf.IsCA:
		return wrong("is an authority's: a node has one of its own")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return wrong("is not for digital signatures (its key usage), which TLS 1.3 needs")
	}
	for _, cert := range path {
		for i, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if !permits(cert, usage) {
				return wrong(fmt.Sprintf("is not for TLS %s (extended key usage of %s): a node is server and client, issue it for both",
					[]string{"servers", "clients"}[i], whose(cert, leaf)))
			}
		}
	}
	return nil
}

func whose(cert, leaf *x509.Certificate) string {
	if cert == leaf {
		return "the certificate"
	}
	return "the " + describe(cert)
}

// permits reports whether a certificate may be used, or issue such that are used, for a purpose.
func permits(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(cert.ExtKeyUsage, usage) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// checkRevoked checks that no certificate of a path is revoked.
func (s *state) checkRevoked(path []*x509.Certificate) error {
	for i, issuer := range path[1:] {
		for _, l := range s.lists {
			if at, revoked := l.revokedAt(path[i], issuer); revoked {
				return &Error{Reason: ErrRevoked, Cert: path[i], At: at,
					Detail: fmt.Sprintf("was revoked by %q on %s", authorityName(issuer), stamp(at))}
			}
		}
	}
	return nil
}

// checkConstraints checks that an authority whose names are constrained has not gone around that: x509 does not hold
// common names to constraints.
func checkConstraints(path []*x509.Certificate, kind nameKind) error {
	if kind != commonName {
		return nil
	}
	for _, c := range path[1:] {
		if len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedURIDomains)+len(c.ExcludedURIDomains) > 0 {
			return &Error{Reason: ErrName, Cert: path[0], Detail: fmt.Sprintf("has only a common name, and the %s is constrained "+
				"in the names it may issue: issue it with a DNS name or a URI name", describe(c))}
		}
	}
	return nil
}
