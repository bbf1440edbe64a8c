package directory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// A Signer signs what a node says of itself.
type Signer interface {
	// Key returns what others need to verify the signatures that sign makes: a chain of at most MaxChain-1 bytes, which they get
	// once. A signature has 1024 bytes at most.
	Key() (chain string, sign func(data []byte) ([]byte, error))
}

// A Verifier verifies what other nodes say of themselves. It may be called by several goroutines at once.
type Verifier interface {
	// Verify returns nil if the node of that name has signed data, by a key that the chain gives it. The error is ErrForged if
	// that is no question of whom one trusts, or when: no honest node has passed it on.
	Verify(name, chain string, data, sig []byte) error
}

// ErrForged is the error of a signature that is none.
var ErrForged = errors.New("forged: the signature is not by the certificate's key")

// Unsigned is the Signer and the Verifier of meshes without credentials, where everybody is believed, and nobody has a name.
type Unsigned struct{}

// Key returns nothing, and what signs with nothing.
func (Unsigned) Key() (chain string, sign func([]byte) ([]byte, error)) {
	return "", func([]byte) ([]byte, error) { return nil, nil }
}

// Verify refuses names and signatures, which nobody vouches for.
func (Unsigned) Verify(name, chain string, _, sig []byte) error {
	if name != "" || chain != "" || len(sig) > 0 {
		return errors.New("it is signed, and this node has no credentials to verify that")
	}
	return nil
}

// Certificates are the Signer and the Verifier of a node with credentials. What it has found out about a chain it keeps until
// they change.
type Certificates struct {
	creds *ca.Credentials

	mu      sync.Mutex
	known   map[string]judged // by chain; replaced by an empty one when the credentials change
	changed <-chan struct{}
}

// judged is what has been found out about a chain.
type judged struct {
	cert *x509.Certificate
	id   ca.Identity
}

// maxJudged bounds what Certificates keeps.
const maxJudged = 16384

// NewCertificates returns the Signer and Verifier with a node's credentials.
func NewCertificates(creds *ca.Credentials) *Certificates { return &Certificates{creds: creds} }

// Key returns the node's certificate with those behind it, and what signs with its key.
func (c *Certificates) Key() (chain string, sign func(data []byte) ([]byte, error)) {
	key, certs := c.creds.Signer()
	var der []byte
	for _, cert := range certs {
		der = append(der, cert.Raw...)
	}
	return string(der), func(data []byte) ([]byte, error) { return signWith(key, data) }
}

// signWith signs as algorithm says.
func signWith(key crypto.Signer, data []byte) ([]byte, error) {
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		return key.Sign(nil, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		return key.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// Verify verifies the chain, that the name is its node's, and the signature.
func (c *Certificates) Verify(name, chain string, data, sig []byte) error {
	j, err := c.judge(chain)
	if err != nil {
		return err
	}
	if err := j.cert.CheckSignature(algorithm(j.cert.PublicKey), data, sig); err != nil || j.id.Name != name {
		return ErrForged
	}
	return nil
}

func algorithm(key crypto.PublicKey) x509.SignatureAlgorithm {
	switch key.(type) {
	case ed25519.PublicKey:
		return x509.PureEd25519
	case *rsa.PublicKey:
		return x509.SHA256WithRSAPSS
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256
	}
	return x509.UnknownSignatureAlgorithm
}

// judge says whose a chain is, if that is to be believed now.
func (c *Certificates) judge(chain string) (judged, error) {
	changed := c.creds.Changed() // before it is judged: what changes meanwhile is not missed
	c.mu.Lock()
	if changed != c.changed || len(c.known) >= maxJudged {
		c.known, c.changed = make(map[string]judged), changed
	}
	known := c.known
	j, ok := known[chain]
	c.mu.Unlock()
	if ok && time.Now().Before(j.id.Expires) {
		return j, nil
	}
	certs, err := x509.ParseCertificates([]byte(chain))
	if err != nil || len(certs) == 0 {
		return judged{}, fmt.Errorf("%w (%v)", ErrForged, err)
	}
	id, err := c.creds.Verify(certs)
	if err != nil {
		return judged{}, err
	}
	j = judged{certs[0], id}
	c.mu.Lock()
	known[chain] = j
	c.mu.Unlock()
	return j, nil
}
