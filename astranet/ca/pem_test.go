package ca

import (
	"bytes"
	"errors"
	"testing"
)

// Whatever is in a file, it is read or refused; what is read is read again from what it is written as, and anything cut off
// its end in the middle of a block is noticed.
func FuzzBundle(f *testing.F) {
	a, err := Create("mesh", Options{})
	if err != nil {
		f.Fatal(err)
	}
	i, err := a.Issue("a", IssueOptions{})
	if err != nil {
		f.Fatal(err)
	}
	if err := a.Revoke(i.Cert.SerialNumber); err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, i.CertPEM, i.KeyPEM, a.RevokedPEM(), bytes.Join([][]byte{i.CertPEM, []byte("text\n"), i.KeyPEM, a.RootPEM(), a.RevokedPEM()}, nil),
		i.CertPEM[:100], i.Cert.Raw, []byte("-----BEGIN X-----\n-----END X-----\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBundle(data)
		if err != nil {
			if len(b.certs)+len(b.keys)+len(b.lists) > 0 {
				t.Errorf("an error, and %+v", b)
			}
			return
		}
		again, err := parseBundle(append(encodeCerts(b.certs...), "-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n"...))
		if err != nil || len(again.certs) != len(b.certs) {
			t.Errorf("again: %d certificates, %v", len(again.certs), err)
		}
		for n, cert := range b.certs {
			if !cert.Equal(again.certs[n]) {
				t.Errorf("certificate %d is another", n)
			}
			if name, err := Name(cert); err == nil && name == "" || err != nil && !errors.Is(err, ErrName) {
				t.Errorf("name %q, %v", name, err)
			}
		}
		parseRoots(data, inMemory)
		parseLists(data, b.certs, inMemory)
		if _, err := Inspect(data, nil, nil); err != nil {
			t.Error(err)
		}
	})
}
