package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Why a certificate, or the other end of a connection, is not accepted: the Reason of an [Error].
var (
	ErrUnknownAuthority = errors.New("unknown authority")
	ErrExpired          = errors.New("certificate has expired")
	ErrNotYetValid      = errors.New("certificate is not valid yet")
	ErrRevoked          = errors.New("certificate is revoked")
	ErrUsage            = errors.New("certificate is not for nodes")
	ErrName             = errors.New("certificate has no usable name")
	ErrInvalid          = errors.New("certificate is not valid")
	ErrNoCertificate    = errors.New("no certificate")
	ErrRefused          = errors.New("refused by the other end") // the other end does not accept ours
	ErrForeign          = errors.New("the other end is no node") // it speaks another protocol
)

// An Error says why a certificate, or the other end of a connection, is not accepted. errors.Is finds its Reason.
type Error struct {
	Reason error             // one of the above
	Cert   *x509.Certificate // the one that is at fault, a node's or an authority's; nil if there is none
	At     time.Time         // ErrExpired, ErrNotYetValid, ErrRevoked: when it expired, will be valid, was revoked
	Detail string            // the same in words
	Err    error             // what it was made of, or nil
}

func (e *Error) Error() string {
	if e.Cert == nil {
		return e.Detail
	}
	return describe(e.Cert) + " " + e.Detail
}

// Unwrap returns the Reason, and Err if there is one.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// describe names a certificate, which may be a stranger's.
func describe(cert *x509.Certificate) string {
	kind, name := "certificate of", ""
	if cert.IsCA {
		kind, name = "authority", authorityName(cert)
	} else if n, err := Name(cert); err == nil {
		name = n
	} else if name = cert.Subject.String(); name == "" {
		return fmt.Sprintf("certificate without a name (serial %s)", Serial(cert.SerialNumber))
	}
	return fmt.Sprintf("%s %q (serial %s)", kind, name, Serial(cert.SerialNumber))
}

// authorityName is what people call an authority.
func authorityName(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return cert.Subject.CommonName
	}
	return cert.Subject.String()
}

// issuerName is what people call the authority that has issued cert.
func issuerName(cert *x509.Certificate) string {
	if cert.Issuer.CommonName != "" {
		return cert.Issuer.CommonName
	}
	return cert.Issuer.String()
}

// Serial returns a serial number as this package, and openssl, writes it: in hexadecimal, two digits a byte.
func Serial(n *big.Int) string {
	if n == nil {
		return "-"
	}
	if n.Sign() == 0 {
		return "00"
	}
	return fmt.Sprintf("%x", n.Bytes())
}

// stamp writes a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
