package ca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// A list is a revocation list of one authority.
type list struct {
	crl     *x509.RevocationList
	revoked map[string]time.Time // by serial number's bytes
	signers []*x509.Certificate  // the roots that have signed it
}

// parseLists reads revocation lists. Those of a root must be signed by it. Those of authorities that are no roots can
// be judged only once such an authority is seen.
func parseLists(data []byte, roots []*x509.Certificate, p paths) ([]*list, error) {
	b, err := parseBundle(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.revoked, err)
	case len(b.lists) == 0:
		return nil, fmt.Errorf("%s: there is no revocation list in it", p.revoked)
	}
	var lists []*list
	for _, crl := range b.lists {
		l, err := newList(crl, roots)
		if err != nil {
			return nil, fmt.Errorf("%s: the list of %q: %w", p.revoked, listIssuer(crl), err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

func listIssuer(crl *x509.RevocationList) string {
	if crl.Issuer.CommonName != "" {
		return crl.Issuer.CommonName
	}
	return crl.Issuer.String()
}

func newList(crl *x509.RevocationList, roots []*x509.Certificate) (*list, error) {
	// A critical extension changes what the list means: it is a part of one, or about other authorities.
	for _, ext := range crl.Extensions {
		if ext.Critical {
			return nil, fmt.Errorf("it has the critical extension %v, which is not supported: a complete list is wanted", ext.Id)
		}
	}
	l := &list{crl: crl, revoked: make(map[string]time.Time, len(crl.RevokedCertificateEntries))}
	for _, e := range crl.RevokedCertificateEntries {
		for _, ext := range e.Extensions {
			if ext.Critical {
				return nil, fmt.Errorf("its entry %s has the critical extension %v, which is not supported", Serial(e.SerialNumber), ext.Id)
			}
		}
		l.revoked[string(e.SerialNumber.Bytes())] = e.RevocationTime
	}
	named := false
	var err error
	for _, root := range roots {
		if !bytes.Equal(root.RawSubject, crl.RawIssuer) {
			continue
		}
		named = true
		if serr := crl.CheckSignatureFrom(root); serr == nil {
			l.signers = append(l.signers, root)
		} else {
			err = serr
		}
	}
	if named && len(l.signers) == 0 {
		return nil, fmt.Errorf("the root of that name has not signed it: %w", err)
	}
	return l, nil
}

// revokedAt returns when the list's authority has revoked cert, which issuer has issued.
func (l *list) revokedAt(cert, issuer *x509.Certificate) (time.Time, bool) {
	at, listed := l.revoked[string(cert.SerialNumber.Bytes())]
	if !listed || !bytes.Equal(l.crl.RawIssuer, issuer.RawSubject) {
		return time.Time{}, false
	}
	if !slices.ContainsFunc(l.signers, issuer.Equal) && l.crl.CheckSignatureFrom(issuer) != nil {
		return time.Time{}, false // another authority of that name
	}
	return at, true
}

// stale reports whether the list's authority meant to have issued another by now.
func (l *list) stale(now time.Time) bool {
	return !l.crl.NextUpdate.IsZero() && now.After(l.crl.NextUpdate)
}
