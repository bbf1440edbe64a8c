package directory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/virtnet/virtnet/astranet/ca"
)

func authority(t testing.TB) *ca.Authority {
	t.Helper()
	a, err := ca.Create("mesh", ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func credentials(t testing.TB, a *ca.Authority, name string, key crypto.Signer) *ca.Credentials {
	t.Helper()
	c, err := ca.New(material(t, a, name, key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// material issues a certificate for a key, or for a new one.
func material(t testing.TB, a *ca.Authority, name string, key crypto.Signer) ca.Material {
	t.Helper()
	var o ca.IssueOptions
	if key != nil {
		o.Key = key.Public()
	}
	issued, err := a.Issue(name, o)
	if err != nil {
		t.Fatal(err)
	}
	m := a.Material(issued)
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		m.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return m
}

// What a node has signed with its certificate's key, of whatever kind, others believe, and nothing else.
func TestCertificates(t *testing.T) {
	_, ed, err1 := ed25519.GenerateKey(nil)
	rs, err2 := rsa.GenerateKey(rand.Reader, 2048)
	p384, err3 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	mesh, other := authority(t), authority(t)
	reader := NewCertificates(credentials(t, mesh, "reader", nil))
	data := []byte("what is signed")
	for name, key := range map[string]crypto.Signer{"P-256": nil, "P-384": p384, "ed25519": ed, "rsa": rs} {
		chain, sign := NewCertificates(credentials(t, mesh, "α", key)).Key()
		sig, err := sign(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 { // the second time the chain is known
			if err := reader.Verify("α", chain, data, sig); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(sig) > maxSig || len(chain) >= MaxChain {
			t.Errorf("%s: %d and %d bytes", name, len(sig), len(chain))
		}
		stranger, strange := NewCertificates(credentials(t, other, "α", nil)).Key()
		strangeSig, _ := strange(data)
		for what, err := range map[string]error{
			"other data":        reader.Verify("α", chain, data[1:], sig),
			"another's name":    reader.Verify("β", chain, data, sig),
			"another signature": reader.Verify("α", chain, data, strangeSig),
			"no chain":          reader.Verify("α", "", data, sig),
			"broken chain":      reader.Verify("α", chain[1:], data, sig),
		} {
			if !errors.Is(err, ErrForged) {
				t.Errorf("%s, %s: %v, want ErrForged", name, what, err)
			}
		}
		if err := reader.Verify("α", stranger, data, strangeSig); !errors.Is(err, ca.ErrUnknownAuthority) || errors.Is(err, ErrForged) {
			t.Errorf("%s: of another authority: %v, want ErrUnknownAuthority", name, err)
		}
	}
}

// A chain that was good is judged again when the credentials have changed; an entry of a node whose certificate is revoked goes.
func TestCertificatesRevoked(t *testing.T) {
	mesh := authority(t)
	own, theirs := material(t, mesh, "reader", nil), credentials(t, mesh, "α", nil)
	creds, err := ca.New(own)
	must(t, err)
	certs := NewCertificates(creds)
	v := New(Config{ID: 1, Life: 1, Name: "reader", Signer: certs, Verifier: certs}, epoch)
	alpha := NewCertificates(theirs)
	d := New(Config{ID: 2, Life: 1, Name: "α", Signer: alpha, Verifier: alpha}, epoch)
	must(t, d.SetLink(1, 1))
	must(t, v.SetLink(2, 1))
	f := open(v)
	must(t, feed(f, entries(t, d)))
	if n, _ := v.Node(2); !n.Reachable || n.Name != "α" {
		t.Fatalf("got %+v", n)
	}
	_, chain := theirs.Signer()
	must(t, mesh.Revoke(chain[0].SerialNumber))
	own.Revoked = mesh.RevokedPEM()
	must(t, creds.Set(own))
	v.Recheck()
	if n, known := v.Node(2); known {
		t.Errorf("revoked, and yet known: %+v", n)
	}
	if err := feed(f, entries(t, d)); err != nil || v.nodes[2] != nil {
		t.Errorf("revoked, and taken anew: %v", err)
	}
}

// A new certificate is a new page; nothing else is sent again.
func TestCertificateRenewed(t *testing.T) {
	mesh := authority(t)
	creds := credentials(t, mesh, "α", nil)
	d := New(Config{ID: 2, Life: 1, Name: "α", Signer: NewCertificates(creds), Verifier: NewCertificates(creds)}, epoch)
	for i := range 1000 {
		must(t, d.Put(serviceNo(i)))
	}
	f := open(d)
	must(t, f.Receive(digest{last: 1<<64 - 1}.append(nil)))
	drain(f)
	must(t, creds.Set(material(t, mesh, "α", nil)))
	d.Recheck()
	if got := drain(f); len(got) != 2 || got[1][1] != pageChain {
		t.Errorf("%d messages, want the head and the certificate", len(got))
	}
}
