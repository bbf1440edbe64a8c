package ca

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Material is what credentials are made of, in PEM.
type Material struct {
	Cert    []byte // the node's certificate, and behind it those of the authorities between it and a root, if there are any
	Key     []byte // its private key; Cert and Key may be the same
	Roots   []byte // the certificates of the authorities that are trusted, one or more
	Revoked []byte // the revocation lists of authorities, one or more; empty: nothing is revoked
}

// An Identity is a node's, verified.
type Identity struct {
	// Name is who it is: see [Name].
	Name string
	// Chain is what it has shown: its certificate and those of the authorities between it and a root. It must not be
	// changed.
	Chain []*x509.Certificate
	// Expires is when the first certificate of the chain expires, the root's included. [Credentials.Verify] of the
	// chain fails from then on.
	Expires time.Time
}

// Credentials are what a node has: its own certificate and key, the authorities that it trusts and what they have revoked.
// They can change; whatever uses them uses what they are now.
type Credentials struct {
	mu      sync.Mutex // guards what follows; held for moments only
	now     *state
	changed chan struct{} // closed when now is replaced

	watch *watch // nil if they are from memory; constant
}

// state is what credentials are at a time. It does not change.
type state struct {
	chain []*x509.Certificate // its own
	key   crypto.Signer
	roots []*x509.Certificate
	pool  *x509.CertPool // roots
	lists []*list
	self  Identity
}

// New makes credentials from memory. The certificate is verified as others would; the error is an [*Error] if they would
// not accept it. There is nothing to close.
func New(m Material) (*Credentials, error) {
	s, err := m.state(inMemory)
	if err != nil {
		return nil, err
	}
	return newCredentials(s), nil
}

func newCredentials(s *state) *Credentials {
	return &Credentials{now: s, changed: make(chan struct{})}
}

// state makes of m what it says, if the certificate in it is one that this node would accept from another.
func (m Material) state(p paths) (*state, error) {
	s, err := trust(m.Roots, m.Revoked, p)
	if err != nil {
		return nil, err
	}
	chain, key, err := parsePair(m.Cert, m.Key, p)
	if err != nil {
		return nil, err
	}
	s, err = s.withPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s: it would be refused: %w", p.cert, err)
	}
	return s, nil
}

// trust returns a state without a certificate of its own.
func trust(rootsPEM, revokedPEM []byte, p paths) (*state, error) {
	roots, err := parseRoots(rootsPEM, p)
	if err != nil {
		return nil, err
	}
	var lists []*list
	if len(revokedPEM) > 0 {
		if lists, err = parseLists(revokedPEM, roots, p); err != nil {
			return nil, err
		}
	}
	return new(state).withRoots(roots, lists), nil
}

// withRoots returns the state with other roots and lists.
func (s *state) withRoots(roots []*x509.Certificate, lists []*list) *state {
	n := *s
	n.roots, n.lists, n.pool = roots, lists, x509.NewCertPool()
	for _, r := range roots {
		n.pool.AddCert(r)
	}
	return &n
}

// withPair returns the state with another certificate, if that is good.
func (s *state) withPair(chain []*x509.Certificate, key crypto.Signer) (*state, error) {
	self, err := s.verify(chain)
	if err != nil {
		return nil, err
	}
	n := *s
	n.chain, n.key, n.self = chain, key, self
	return &n, nil
}

// sameNode checks that a node stays who it is: others know its id, and what it has signed, by its name.
func (s *state) sameNode(next *state) error {
	if was, is := s.self.Name, next.self.Name; was != is {
		return fmt.Errorf("the certificate is that of %q, and this node is %q until it is started anew", is, was)
	}
	return nil
}

// certificate returns the node's own as crypto/tls has it.
func (s *state) certificate() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: s.key, Leaf: s.chain[0]}
	for _, cert := range s.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

func (c *Credentials) state() *state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// set replaces the state, and tells those who wait for it.
func (c *Credentials) set(s *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = s
	close(c.changed)
	c.changed = make(chan struct{})
}

// Set replaces credentials that are from memory. If the new ones are not good, or another node's, the old ones stay, and
// the error says why.
func (c *Credentials) Set(m Material) error {
	if c.watch != nil {
		return errors.New("these credentials are those of files: replace the files")
	}
	s, err := m.state(inMemory)
	if err == nil {
		err = c.state().sameNode(s)
	}
	if err == nil {
		c.set(s)
	}
	return err
}

// Changed returns a channel that is closed when anything of the credentials changes from now on: the node's own
// certificate, the roots, or what is revoked. Who keeps links asks for the channel, then verifies the others' chains, then
// waits, and begins again.
func (c *Credentials) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Self returns the node's own identity.
func (c *Credentials) Self() Identity { return c.state().self }

// Signer returns the node's private key, which is that of the certificate in the chain.
func (c *Credentials) Signer() (key crypto.Signer, chain []*x509.Certificate) {
	s := c.state()
	return s.key, s.chain
}

// Verify judges the certificate that a node has shown, with those of the authorities between it and a root behind it,
// by what is trusted and revoked now. No host names or addresses are checked: who it is is for the caller to
// judge. The error is an [*Error].
//
// The certificate must be for TLS servers and clients alike, since a node is both; one that does not say what it is
// for will do.
func (c *Credentials) Verify(chain []*x509.Certificate) (Identity, error) {
	return c.state().verify(chain)
}
