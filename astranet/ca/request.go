package ca

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Request reads a certificate signing request in PEM, of a node whose key stays where it is, and returns its key for
// [IssueOptions]. The names in it are not looked at: who issues says which the node has.
func Request(csr []byte) (crypto.PublicKey, error) {
	for block, rest := pem.Decode(csr); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			continue
		}
		r, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the certificate request cannot be read: %w", err)
		}
		if err := r.CheckSignature(); err != nil {
			return nil, fmt.Errorf("the certificate request is not signed with its key: %w", err)
		}
		return r.PublicKey, nil
	}
	return nil, errors.New("there is no certificate request in the file: \"openssl req -new\" makes one")
}
