package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

func TestAuthorityDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "ca")
	_, err := ca.OpenAuthority(dir)
	if want := "no authority in " + dir + ": open " + filepath.Join(dir, "ca.pem") + ": "; !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Open before there is one: %v, want %s...", err, want)
	}
	a := authority(t, "mesh")
	i := issue(t, a, "in memory")
	if err := a.Revoke(i.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	if err := authority(t, "another").Save(dir); !errors.Is(err, fs.ErrExist) || err.Error() != "there is an authority in "+dir+" (ca.key): file already exists" {
		t.Errorf("Save where there is one: %v", err)
	}

	b := must[*ca.Authority](t)(ca.OpenAuthority(dir))
	j, k := issue(t, b, "a"), issue(t, b, "a")
	if err := errors.Join(b.Revoke(j.Cert.SerialNumber), b.Revoke(j.Cert.SerialNumber), a.Revoke(k.Cert.SerialNumber)); err != nil {
		t.Fatal(err)
	}
	c := must[*ca.Authority](t)(ca.OpenAuthority(dir))
	if r := c.Revoked(); len(r) != 3 || r[serial(i)].IsZero() || r[serial(j)].IsZero() || r[serial(k)].IsZero() {
		t.Errorf("revoked are %v", r)
	}
	issued := must[[]*x509.Certificate](t)(c.Issued())
	if c.Name() != "mesh" || len(issued) != 2 || issued[0].Subject.CommonName != "a" {
		t.Errorf("authority %q has issued %d", c.Name(), len(issued))
	}
}

// Several processes that revoke at once revoke all of it.
func TestRevokeTogether(t *testing.T) {
	dir := t.TempDir()
	if err := authority(t, "mesh").Save(dir); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		a := must[*ca.Authority](t)(ca.OpenAuthority(dir))
		i := issue(t, a, fmt.Sprint("n", n))
		wg.Go(func() {
			if err := a.Revoke(i.Cert.SerialNumber); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r := must[*ca.Authority](t)(ca.OpenAuthority(dir)).Revoked(); len(r) != 8 {
		t.Errorf("%d are revoked, want 8", len(r))
	}

	// One that was interrupted is waited for, and then named.
	next := filepath.Join(dir, "revoked.pem.new")
	if err := os.WriteFile(next, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a := must[*ca.Authority](t)(ca.OpenAuthority(dir))
		err := a.Revoke(a.Cert().SerialNumber)
		want := next + " is there: another process is revoking, or was interrupted; remove the file if there is none: "
		if !errors.Is(err, fs.ErrExist) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %v", err, want)
		}
	})
}

func TestValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		a := must[*ca.Authority](t)(ca.Create("mesh", ca.Options{Validity: 400 * day}))
		for _, test := range []struct{ validity, want time.Duration }{
			{0, 365 * day}, {time.Minute, time.Minute}, {1000 * day, 400 * day},
		} {
			i := must[*ca.Issued](t)(a.Issue("a", ca.IssueOptions{Validity: test.validity}))
			if got := time.Until(i.Cert.NotAfter); got != test.want {
				t.Errorf("validity %v: it is valid for %v, want %v", test.validity, got, test.want)
			}
		}
		if _, err := a.Issue("a", ca.IssueOptions{Validity: -1}); err == nil || err.Error() != "a validity of -1ns: it must be positive" {
			t.Errorf("error %v", err)
		}
		if _, err := ca.Create("a/b", ca.Options{}); err == nil || err.Error() != `the authority's name "a/b" has a ":" or "/", which only a URI name may have` {
			t.Errorf("error %v", err)
		}
		dir := t.TempDir()
		if err := a.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(ca.RevokedPath(dir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(401 * day)
		a = must[*ca.Authority](t)(ca.OpenAuthority(dir))
		want := fmt.Sprintf("the authority \"mesh\" (serial %s) has expired on 2001-02-04 00:00:00 UTC: it can issue nothing; make a new one", ca.Serial(a.Cert().SerialNumber))
		if _, err := a.Issue("a", ca.IssueOptions{}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %v", err, want)
		}
	})
}

// A node's key need not leave it: neither when it asks for its first certificate, nor when that is renewed.
func TestOwnKey(t *testing.T) {
	a := authority(t, "mesh")
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	der := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"what it likes"}}, key))
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	public, err := ca.Request(csr)
	if err != nil {
		t.Fatal(err)
	}
	first := must[*ca.Issued](t)(a.Issue("a", ca.IssueOptions{Key: public}))
	if first.KeyPEM != nil || !key.PublicKey.Equal(first.Cert.PublicKey) {
		t.Errorf("key %q", first.KeyPEM)
	}
	m := a.Material(must[*ca.Issued](t)(a.Issue("a", ca.IssueOptions{Key: first.Cert.PublicKey})))
	m.Key = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalECPrivateKey(key))})
	if c := must[*ca.Credentials](t)(ca.New(m)); c.Self().Name != "a" {
		t.Errorf("name %q", c.Self().Name)
	}

	der[len(der)-1] ^= 1
	for data, want := range map[string]string{
		"":                  "there is no certificate request in the file: \"openssl req -new\" makes one",
		string(a.RootPEM()): "there is no certificate request in the file: \"openssl req -new\" makes one",
		"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n": "the certificate request cannot be read: ",
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})):  "the certificate request is not signed with its key: ",
	} {
		if _, err := ca.Request([]byte(data)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
}

// A directory that is not an authority's whole and own is refused, with the file that is wrong.
func TestOpenAuthorityErrors(t *testing.T) {
	a, other := authority(t, "mesh"), authority(t, "other")
	i := issue(t, a, "a")
	for _, test := range []struct {
		name string
		file string
		data []byte
		want string
	}{
		{"a node's", "ca.pem", i.CertPEM, "authority in DIR: the certificate of \"a\" (serial " + serial(i) + ") is no authority's"},
		{"another's certificate", "ca.pem", other.RootPEM(), "DIR/ca.key: the key is not that of the first certificate in DIR/ca.pem, the authority \"other\" (serial " +
			ca.Serial(other.Cert().SerialNumber) + "): are the two of one issue?"},
		{"another's list", "revoked.pem", other.RevokedPEM(), "DIR/revoked.pem is not the list of the authority \"mesh\" alone"},
		{"two lists", "revoked.pem", concat(a.RevokedPEM(), a.RevokedPEM()), "DIR/revoked.pem is not the list of the authority \"mesh\" alone"},
		{"half a list", "revoked.pem", a.RevokedPEM()[:99], "DIR/revoked.pem: it is damaged or cut off: of 1 PEM blocks that begin in it 0 can be read"},
		{"no key", "ca.key", nil, "DIR/ca.key: it is empty"},
		{"not ca's", "issued/x.pem", []byte("x"), ""},
	} {
		dir := t.TempDir()
		if err := a.Save(dir); err != nil {
			t.Fatal(err)
		}
		if test.name == "a node's" { // with its key
			if err := os.WriteFile(filepath.Join(dir, "ca.key"), i.KeyPEM, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, test.file), test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := ca.OpenAuthority(dir)
		want := strings.ReplaceAll(test.want, "DIR", dir)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			_, err = b.Issued()
			want = dir + "/issued/x.pem: there is no PEM block in it"
		}
		if err == nil || filepath.ToSlash(err.Error()) != filepath.ToSlash(want) {
			t.Errorf("%s: error %v\nwant %v", test.name, err, want)
		}
	}
}
