package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	pemCert = "CERTIFICATE"
	pemList = "X509 CRL"
	pemKey  = "PRIVATE KEY"
)

// paths are what errors call the parts of credentials.
type paths struct{ cert, key, roots, revoked string }

// inMemory are those of parts that have no files.
var inMemory = paths{cert: "certificate", key: "private key", roots: "roots", revoked: "revocation lists"}

// A bundle is what a PEM file has in it.
type bundle struct {
	certs []*x509.Certificate
	keys  []crypto.Signer
	lists []*x509.RevocationList
}

// parseBundle reads PEM. Text around the blocks is passed over, as openssl writes it, but every block must be whole and
// of a kind that is known: a file that is half there is an error.
func parseBundle(data []byte) (b bundle, err error) {
	begun := countBegun(data)
	if begun == 0 {
		return b, notPEM(data)
	}
	blocks := 0
	for rest := data; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := b.add(block); err != nil {
			return bundle{}, err
		}
	}
	if blocks != begun {
		return bundle{}, fmt.Errorf("it is damaged or cut off: of %d PEM blocks that begin in it %d can be read", begun, blocks)
	}
	return b, nil
}

// countBegun counts the lines that begin a block.
func countBegun(data []byte) (n int) {
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("-----BEGIN ")) {
			n++
		}
	}
	return n
}

// notPEM says what a file may be that has no PEM block.
func notPEM(data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("it is empty")
	case data[0] == 0x30: // an ASN.1 sequence
		return errors.New("it is not PEM, it looks like DER: \"openssl x509 -inform DER\" converts certificates, " +
			"\"openssl crl -inform DER\" revocation lists")
	}
	return errors.New("there is no PEM block in it")
}

func (b *bundle) add(block *pem.Block) error {
	switch block.Type {
	case pemCert:
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("a certificate cannot be read: %w", err)
		}
		b.certs = append(b.certs, cert)
	case pemList:
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return fmt.Errorf("a revocation list cannot be read: %w", err)
		}
		b.lists = append(b.lists, list)
	case "EC PARAMETERS": // openssl puts them before a key, which has them too
	default:
		if !strings.HasSuffix(block.Type, pemKey) {
			return fmt.Errorf("a PEM block is %q, which is none of certificate, private key and revocation list", clip(block.Type))
		}
		key, err := parseKey(block)
		if err != nil {
			return err
		}
		b.keys = append(b.keys, key)
	}
	return nil
}

// parseKey reads a private key of any of the forms in use.
func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the private key is encrypted: \"openssl pkey\" decrypts it")
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == pemKey:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a private key is of kind %q: \"openssl pkey\" converts it", clip(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("the private key is a %T, which TLS cannot use: ECDSA, Ed25519 or RSA can", key)
}

// parsePair reads a certificate, with those of the authorities between it and a root behind it, and its key. The two may
// be in one file. In errors they are called what the paths say.
func parsePair(certPEM, keyPEM []byte, p paths) (chain []*x509.Certificate, key crypto.Signer, err error) {
	certs, err := parseBundle(certPEM)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", p.cert, err)
	case len(certs.certs) == 0:
		return nil, nil, fmt.Errorf("%s: there is no certificate in it", p.cert)
	}
	keys, err := parseBundle(keyPEM)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", p.key, err)
	case len(keys.keys) != 1:
		return nil, nil, fmt.Errorf("%s: there are %d private keys in it, and one is wanted", p.key, len(keys.keys))
	}
	if !samePublic(certs.certs[0].PublicKey, keys.keys[0].Public()) {
		return nil, nil, fmt.Errorf("%s: the key is not that of the first certificate in %s, the %s: are the two of one issue?",
			p.key, p.cert, describe(certs.certs[0]))
	}
	return certs.certs, keys.keys[0], nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// parseRoots reads the certificates of the authorities that are trusted.
func parseRoots(data []byte, p paths) ([]*x509.Certificate, error) {
	b, err := parseBundle(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.roots, err)
	case len(b.keys) > 0:
		return nil, fmt.Errorf("%s: there is a private key in it, which nodes must not have: they need only the certificates", p.roots)
	case len(b.certs) == 0:
		return nil, fmt.Errorf("%s: there is no certificate in it", p.roots)
	}
	for _, cert := range b.certs {
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, fmt.Errorf("%s: the %s is no authority's", p.roots, describe(cert))
		}
	}
	return b.certs, nil
}

func encode(kind string, ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

// encodeCerts returns certificates as PEM.
func encodeCerts(certs ...*x509.Certificate) []byte {
	var ders [][]byte
	for _, c := range certs {
		ders = append(ders, c.Raw)
	}
	return encode(pemCert, ders...)
}
