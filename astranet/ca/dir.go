package ca

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The files of an authority's directory.
const (
	keyFile     = "ca.key"      // its private key, mode 0600
	certFile    = "ca.pem"      // its certificate, and those above it
	revokedFile = "revoked.pem" // its revocation list
	issuedDir   = "issued"      // what it has issued, a file each, SERIAL.pem; only Issued and people read them
	lockSuffix  = ".new"        // the next file, and the sign that somebody is writing it
)

// RootsPath and RevokedPath return where, in the directory of an authority, the certificates and the revocation list are
// that nodes need.
func RootsPath(dir string) string { return filepath.Join(dir, certFile) }

// RevokedPath: see RootsPath.
func RevokedPath(dir string) string { return filepath.Join(dir, revokedFile) }

// Save writes the authority into a directory, which is made if it is not there, and has it keep its record there from
// now on. If there is one already, the error is fs.ErrExist, and nothing is written.
func (a *Authority) Save(dir string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range []string{keyFile, certFile, revokedFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("there is an authority in %s (%s): %w", dir, name, fs.ErrExist)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, issuedDir), 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{keyFile, encode(pemKey, der), 0o600},
		{certFile, encodeCerts(a.chain...), 0o644},
		{revokedFile, encode(pemList, a.crl.Raw), 0o644},
	} {
		if err := writeNew(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	a.dir = dir
	return nil
}

// writeNew writes a file that must not be there, and does not leave half of it.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// OpenAuthority opens the authority in a directory: one that was saved, or one of others with the same files, of which
// only the key and the certificate must be there. If there is none, the error is fs.ErrNotExist.
func OpenAuthority(dir string) (*Authority, error) {
	var pems [2][]byte
	for i, name := range []string{certFile, keyFile} {
		var err error
		if pems[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("no authority in %s: %w", dir, err)
		}
	}
	chain, key, err := parsePair(pems[0], pems[1], inDir(dir))
	if err != nil {
		return nil, err
	}
	if !chain[0].IsCA {
		return nil, fmt.Errorf("authority in %s: the %s is no authority's", dir, describe(chain[0]))
	}
	a, err := newAuthority(key, chain)
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w", dir, err)
	}
	a.dir = dir
	if err := a.readRevoked(); err != nil {
		return nil, err
	}
	return a, nil
}

// inDir is what errors call the files of a directory.
func inDir(dir string) paths {
	p := paths{cert: RootsPath(dir), key: filepath.Join(dir, keyFile), revoked: RevokedPath(dir)}
	p.roots = p.cert
	return p
}

// readRevoked reads the list in the directory, if there is one.
func (a *Authority) readRevoked() error {
	path := filepath.Join(a.dir, revokedFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lists, err := parseLists(data, a.chain[:1], inDir(a.dir))
	switch {
	case err != nil:
		return err
	case len(lists) != 1 || len(lists[0].signers) == 0:
		return fmt.Errorf("%s is not the list of the authority %q alone", path, a.Name())
	}
	a.crl = lists[0].crl
	return nil
}

// patience is how long another process is waited for that is writing the list.
const patience = 2 * time.Second

// revokeInDir revokes, in a directory that others may have changed and may be changing. Who writes the next list has
// made its file, which nobody else can then.
func (a *Authority) revokeInDir(serials []*big.Int) error {
	path := filepath.Join(a.dir, revokedFile)
	next := path + lockSuffix
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	for end := time.Now().Add(patience); errors.Is(err, fs.ErrExist) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		f, err = os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another process is revoking, or was interrupted; remove the file if there is none: %w", next, err)
	}
	if err != nil {
		return err
	}
	var crl *x509.RevocationList
	if err = a.readRevoked(); err == nil {
		crl, err = a.withRevoked(a.crl, serials)
	}
	if err == nil {
		_, err = f.Write(encode(pemList, crl.Raw))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
		return err
	}
	a.crl = crl
	return nil
}

// record keeps a copy of a certificate in the directory.
func (a *Authority) record(cert *x509.Certificate) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir == "" {
		return nil
	}
	dir := filepath.Join(a.dir, issuedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, Serial(cert.SerialNumber)+".pem"), encodeCerts(cert), 0o644)
}

// Issued returns what the authority has issued, by the record in its directory, sorted by name and then by age. Files may be
// removed from the record; nothing else needs them. What cannot be read is passed over and told by the error.
func (a *Authority) Issued() ([]*x509.Certificate, error) {
	a.mu.Lock()
	dir := a.dir
	a.mu.Unlock()
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, issuedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var certs []*x509.Certificate
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(dir, issuedDir, entry.Name())
		if filepath.Ext(path) != ".pem" {
			continue
		}
		data, err := os.ReadFile(path)
		var b bundle
		if err == nil {
			b, err = parseBundle(data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
		certs = append(certs, b.certs...)
	}
	slices.SortFunc(certs, func(x, y *x509.Certificate) int {
		return cmp.Or(cmp.Compare(label(x), label(y)), x.NotBefore.Compare(y.NotBefore), x.SerialNumber.Cmp(y.SerialNumber))
	})
	return certs, errors.Join(errs...)
}

// label is what a certificate is listed under.
func label(cert *x509.Certificate) string {
	if name, err := Name(cert); err == nil && !cert.IsCA {
		return name
	}
	return authorityName(cert)
}
