package ca

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"slices"
	"time"
)

// Revoke revokes certificates that the authority has issued, by their serial numbers. Nodes learn of it from the list:
// [Authority.RevokedPEM], or the file in the authority's directory. One that is revoked already stays as it is.
func (a *Authority) Revoke(serials ...*big.Int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir == "" {
		crl, err := a.withRevoked(a.crl, serials)
		if err == nil {
			a.crl = crl
		}
		return err
	}
	return a.revokeInDir(serials)
}

// withRevoked returns the list that follows old, with these revoked too.
func (a *Authority) withRevoked(old *x509.RevocationList, serials []*big.Int) (*x509.RevocationList, error) {
	entries := slices.Clone(old.RevokedCertificateEntries)
	now := time.Now()
	for _, n := range serials {
		if !listed(entries, n) {
			entries = append(entries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: now})
		}
	}
	number := int64(1)
	if old.Number != nil {
		number = old.Number.Int64() + 1
	}
	return a.newCRL(entries, number)
}

func listed(entries []x509.RevocationListEntry, n *big.Int) bool {
	return slices.ContainsFunc(entries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(n) == 0 })
}

// newCRL signs a list. It holds until the authority ends: there is a new one when one is needed, not every month.
func (a *Authority) newCRL(entries []x509.RevocationListEntry, number int64) (*x509.RevocationList, error) {
	now, end := time.Now(), a.chain[0].NotAfter
	if end.Before(now) { // an authority that has expired can still be looked at
		end = now.Add(skew)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		RevokedCertificateEntries: entries,
		Number:                    big.NewInt(number),
		ThisUpdate:                now,
		NextUpdate:                end,
	}, a.chain[0], a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseRevocationList(der)
}

// RevokedPEM returns the list of what is revoked.
func (a *Authority) RevokedPEM() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return encode(pemList, a.crl.Raw)
}

// Revoked returns what is revoked: when, by serial number as [Serial] writes it.
func (a *Authority) Revoked() map[string]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := make(map[string]time.Time, len(a.crl.RevokedCertificateEntries))
	for _, e := range a.crl.RevokedCertificateEntries {
		m[Serial(e.SerialNumber)] = e.RevocationTime
	}
	return m
}
