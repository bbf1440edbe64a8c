package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

const (
	defaultAuthorityValidity = 10 * 365 * 24 * time.Hour
	defaultNodeValidity      = 365 * 24 * time.Hour
	// skew is how far back a certificate is valid, so that nodes whose clocks are slow take it.
	skew = time.Hour
)

// Options say how an authority is made.
type Options struct {
	// Validity is how long its certificate is valid: ten years if it is 0.
	Validity time.Duration
}

// IssueOptions say how a certificate is issued.
type IssueOptions struct {
	// Validity is how long it is valid, a year if it is 0; never longer than the authority's own.
	Validity time.Duration
	// Key, if not nil, is the node's public key. Its private key stays where it is, and Issued has none. It is that of
	// the certificate that is renewed, say, or of a request.
	Key crypto.PublicKey
}

// Issued is a certificate that has been issued.
type Issued struct {
	Cert *x509.Certificate
	// CertPEM is the certificate, and behind it those of the authorities between it and the root, if there are any.
	CertPEM []byte
	// KeyPEM is the private key, nil if it was not made here.
	KeyPEM []byte
}

// An Authority issues certificates and revokes them. One that [OpenAuthority] has opened, or that has been saved, keeps
// a record in its directory.
type Authority struct {
	key   crypto.Signer
	chain []*x509.Certificate // its own, those of the authorities above it, the root's last

	mu  sync.Mutex
	dir string               // "" while it is only in memory
	crl *x509.RevocationList // the present one
}

// Create makes an authority, a root, in memory: [Authority.Save] makes it last. Its name is for people, who see it in
// errors; two meshes should not have one name.
func Create(name string, o Options) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(name, o)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return newAuthority(key, []*x509.Certificate{cert})
}

// Sub makes an authority below this one. Nodes that trust this one, or the root, accept what it issues. It has a
// revocation list of its own.
func (a *Authority) Sub(name string, o Options) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(name, o)
	if err != nil {
		return nil, err
	}
	cert, err := a.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	if err := a.record(cert); err != nil {
		return nil, err
	}
	return newAuthority(key, append([]*x509.Certificate{cert}, a.chain...))
}

func authorityTemplate(name string, o Options) (*x509.Certificate, error) {
	if problem := checkName(name, commonName); problem != "" {
		return nil, fmt.Errorf("the authority's name %q %s", clip(name), problem)
	}
	if len(name) > maxCommonName {
		return nil, fmt.Errorf("the authority's name %q is longer than %d bytes", name, maxCommonName)
	}
	t, err := newTemplate(o.Validity, defaultAuthorityValidity)
	if err != nil {
		return nil, err
	}
	t.Subject = pkix.Name{CommonName: name}
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return t, nil
}

// maxCommonName is RFC 5280's ub-common-name. OpenSSL issues no longer ones.
const maxCommonName = 64

func newTemplate(validity, usual time.Duration) (*x509.Certificate, error) {
	if validity == 0 {
		validity = usual
	}
	if validity < 0 {
		return nil, fmt.Errorf("a validity of %v: it must be positive", validity)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(validity),
		BasicConstraintsValid: true,
	}, nil
}

// newSerial returns a number of 63 random bits, which is short enough to be read out.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).SetUint64(1<<63-1))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// sign signs a certificate, which ends with the authority's at the latest.
func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	for _, c := range a.chain {
		if time.Now().After(c.NotAfter) {
			return nil, fmt.Errorf("the %s has expired on %s: it can issue nothing; make a new one", describe(c), stamp(c.NotAfter))
		}
		if c.NotAfter.Before(template.NotAfter) {
			template.NotAfter = c.NotAfter
		}
		if c.NotBefore.After(template.NotBefore) {
			template.NotBefore = c.NotBefore
		}
	}
	return sign(template, a.chain[0], public, a.key)
}

// newAuthority returns an authority that has revoked nothing.
func newAuthority(key crypto.Signer, chain []*x509.Certificate) (*Authority, error) {
	a := &Authority{key: key, chain: chain}
	crl, err := a.newCRL(nil, 1)
	if err != nil {
		return nil, err
	}
	a.crl = crl
	return a, nil
}

// Name returns the authority's name.
func (a *Authority) Name() string { return authorityName(a.chain[0]) }

// Cert returns the authority's certificate.
func (a *Authority) Cert() *x509.Certificate { return a.chain[0] }

// RootPEM returns the certificate of the root, which nodes need to trust what the authority issues.
func (a *Authority) RootPEM() []byte { return encodeCerts(a.chain[len(a.chain)-1]) }

// Issue issues a certificate for the node of that name. A name with ":" in it is a URI name, as in spiffe://mesh/node; one
// that has the form of a DNS name is a DNS name; any other is a common name, of at most 64 bytes. [Name] says what a name may
// be. Issuing another of the same name renews it: both are valid until they expire or are revoked.
func (a *Authority) Issue(name string, o IssueOptions) (*Issued, error) {
	t, err := nodeTemplate(name, o)
	if err != nil {
		return nil, err
	}
	issued := new(Issued)
	public := o.Key
	if public == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		public, issued.KeyPEM = key.Public(), encode(pemKey, der)
	}
	if issued.Cert, err = a.sign(t, public); err != nil {
		return nil, err
	}
	if err := a.record(issued.Cert); err != nil {
		return nil, err
	}
	between := a.chain[:len(a.chain)-1]
	issued.CertPEM = append(encodeCerts(issued.Cert), encodeCerts(between...)...)
	return issued, nil
}

func nodeTemplate(name string, o IssueOptions) (*x509.Certificate, error) {
	kind := kindFor(name)
	if problem := checkName(name, kind); problem != "" {
		return nil, fmt.Errorf("the name %q %s", clip(name), problem)
	}
	t, err := newTemplate(o.Validity, defaultNodeValidity)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if len(name) <= maxCommonName { // for tools that show no other
		t.Subject = pkix.Name{CommonName: name}
	}
	switch {
	case kind == uriName:
		u, err := url.Parse(name)
		if err != nil {
			return nil, err
		}
		t.URIs = []*url.URL{u}
	case kind == dnsName:
		t.DNSNames = []string{name}
	case len(name) > maxCommonName:
		return nil, fmt.Errorf("the name %q is longer than %d bytes, which only URI and DNS names may be", clip(name), maxCommonName)
	}
	return t, nil
}

// Material returns what a node needs that has this certificate: the authority's root and revocation list too. For one
// whose key was not made here, its Key is to be filled in.
func (a *Authority) Material(i *Issued) Material {
	return Material{Cert: i.CertPEM, Key: i.KeyPEM, Roots: a.RootPEM(), Revoked: a.RevokedPEM()}
}
