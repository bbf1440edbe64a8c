package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Item is something in a PEM file: a certificate, a revocation list or a private key. The other two are nil.
type Item struct {
	Cert *x509.Certificate
	List *x509.RevocationList
	Key  crypto.PublicKey // of a private key
	// Problem is what is wrong with it, as a node's or an authority's: an [*Error] for certificates. Nil is nothing.
	Problem error
}

// Inspect says what is in PEM data, and what is wrong with it. A node's certificate is judged as [Credentials.Verify]
// would, with the certificates of authorities behind it, if roots are given; else only by what it says itself. Roots and
// revoked are PEM too; they may be nil.
func Inspect(data, roots, revoked []byte) ([]Item, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, err
	}
	var s *state
	if roots != nil {
		if s, err = trust(roots, revoked, inMemory); err != nil {
			return nil, err
		}
	}
	var items []Item
	for i, cert := range b.certs {
		items = append(items, Item{Cert: cert, Problem: s.judge(cert, b.certs[i:])})
	}
	for _, crl := range b.lists {
		items = append(items, Item{List: crl, Problem: s.judgeList(crl)})
	}
	for _, key := range b.keys {
		item := Item{Key: key.Public()}
		if len(b.certs) > 0 && !samePublic(b.certs[0].PublicKey, item.Key) {
			item.Problem = errors.New("the key is not that of the file's first certificate")
		}
		items = append(items, item)
	}
	return items, nil
}

// judge says what is wrong with a certificate, as a node's or an authority's. s may be nil: then nothing is trusted or
// revoked.
func (s *state) judge(cert *x509.Certificate, chain []*x509.Certificate) error {
	switch {
	case cert.IsCA && s != nil && !s.isRoot(cert):
		return s.judgeAuthority(cert, chain)
	case cert.IsCA:
		return checkTime(cert)
	case s != nil:
		_, err := s.verify(chain)
		return err
	}
	if _, _, problem := nameOf(cert); problem != "" {
		return &Error{Reason: ErrName, Cert: cert, Detail: "cannot be a node's: " + problem}
	}
	if err := checkTime(cert); err != nil {
		return err
	}
	return checkUsage([]*x509.Certificate{cert})
}

func (s *state) isRoot(cert *x509.Certificate) bool {
	return slices.ContainsFunc(s.roots, cert.Equal)
}

// judgeAuthority says what is wrong with the certificate of an authority that is no root.
func (s *state) judgeAuthority(cert *x509.Certificate, chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	paths, err := cert.Verify(x509.VerifyOptions{Roots: s.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return s.explainX509(cert, err)
	}
	return s.checkRevoked(paths[0])
}

// judgeList says what is wrong with a revocation list.
func (s *state) judgeList(crl *x509.RevocationList) error {
	var roots []*x509.Certificate
	if s != nil {
		roots = s.roots
	}
	l, err := newList(crl, roots)
	switch {
	case err != nil:
		return fmt.Errorf("the list of %q: %w", listIssuer(crl), err)
	case l.stale(time.Now()):
		return fmt.Errorf("the list of %q should have been replaced by %s; it is used all the same", listIssuer(crl), stamp(crl.NextUpdate))
	case s != nil && !s.signs(crl):
		return fmt.Errorf("the list of %q is of no root here", listIssuer(crl))
	}
	return nil
}

// signs reports whether a list is in the name of a root.
func (s *state) signs(crl *x509.RevocationList) bool {
	return slices.ContainsFunc(s.roots, func(r *x509.Certificate) bool { return bytes.Equal(r.RawSubject, crl.RawIssuer) })
}
