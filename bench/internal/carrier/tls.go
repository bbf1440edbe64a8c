package carrier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"time"
)

// secure is TLS on another carrier, with package tls's settings.
type secure struct {
	Carrier
	client, server *tls.Config
}

func newTLS(below Carrier) (Carrier, error) {
	cert, err := certificate("localhost")
	if err != nil {
		below.Close()
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return secure{
		below,
		&tls.Config{RootCAs: roots, ServerName: "localhost"},
		&tls.Config{Certificates: []tls.Certificate{cert}},
	}, nil
}

// certificate makes one that is its own authority.
func certificate(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		DNSNames:              []string{name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// Dial returns at once: the handshake runs with the first Read or Write.
func (s secure) Dial() (net.Conn, error) {
	c, err := s.Carrier.Dial()
	if err != nil {
		return nil, err
	}
	return tls.Client(c, s.client), nil
}

func (s secure) Accept() (net.Conn, error) {
	c, err := s.Carrier.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, s.server), nil
}

// handshake shakes hands if the two are ends of a TLS connection.
func handshake(client, server net.Conn) error {
	c, ok := client.(*tls.Conn)
	if !ok {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	err := server.(*tls.Conn).Handshake()
	if err != nil {
		client.Close()
	}
	return errors.Join(err, <-done)
}
