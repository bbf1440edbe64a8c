package ca_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// A place is a node's files.
type place struct {
	t     testing.TB
	dir   string
	files ca.Files
	log   *logged
}

// logged is what was logged, level, message and error, a line each.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			line += ": " + a.Value.String()
		}
		return true
	})
	l.lines = append(l.lines, line)
	return nil
}

// take returns what was logged since the last time.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Join(l.lines, "\n")
	l.lines = nil
	return lines
}

func newPlace(t testing.TB, m ca.Material) *place {
	p := &place{t: t, dir: t.TempDir(), log: new(logged)}
	p.files = ca.Files{
		Cert: filepath.Join(p.dir, "n.pem"), Key: filepath.Join(p.dir, "n.key"), Roots: filepath.Join(p.dir, "roots.pem"),
		Revoked: filepath.Join(p.dir, "revoked.pem"), Poll: -1, Logger: slog.New(p.log),
	}
	p.put(p.files.Cert, m.Cert)
	p.put(p.files.Key, m.Key)
	p.put(p.files.Roots, m.Roots)
	p.put(p.files.Revoked, m.Revoked)
	return p
}

// put replaces a file as it should be done.
func (p *place) put(path string, data []byte) {
	p.t.Helper()
	if err := errors.Join(os.WriteFile(path+".tmp", data, 0o600), os.Rename(path+".tmp", path)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) open() *ca.Credentials {
	p.t.Helper()
	c := must[*ca.Credentials](p.t)(p.files.Open())
	p.t.Cleanup(func() { c.Close() })
	return c
}

func changed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// The files are looked at each second; what is new counts for the next handshake, and those that are linked can be asked
// about again.
func TestRevokedWhileOpen(t *testing.T) {
	a := authority(t, "mesh")
	bad := issue(t, a, "bad")
	p := newPlace(t, a.Material(issue(t, a, "n")))
	other := must[*ca.Credentials](t)(ca.New(a.Material(bad)))
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // when the certificates are valid
		p.t, p.files.Poll = t, 0
		c := p.open()
		id := must[ca.Identity](t)(c.Verify(other.Self().Chain))
		ch := c.Changed()
		time.Sleep(time.Minute)
		if changed(ch) {
			t.Fatal("changed, and nothing has")
		}
		if err := a.Revoke(bad.Cert.SerialNumber); err != nil {
			t.Fatal(err)
		}
		p.put(p.files.Revoked, a.RevokedPEM())
		start := time.Now()
		<-ch
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		_, err := c.Verify(id.Chain)
		at := a.Revoked()[serial(bad)].UTC().Format("2006-01-02 15:04:05 UTC")
		checkError(t, "Verify", err, refusal{ca.ErrRevoked, `certificate of "bad" (serial %s) was revoked by "mesh" on ` + at}, serial(bad))
		c.Close()
		c.Close()
		ch = c.Changed()
		p.put(p.files.Revoked, []byte("x"))
		time.Sleep(time.Minute)
		if changed(ch) || p.log.take() != "INFO credentials have changed" {
			t.Error("watched when closed")
		}
		if _, err := c.Verify(must[ca.Identity](t)(c.Verify(c.Self().Chain)).Chain); err != nil {
			t.Errorf("when closed: %v", err)
		}
	})
}

// A file that is no good is not used, nor does it keep others from being used; it is told once, and used when it is good.
func TestBadFiles(t *testing.T) {
	a := authority(t, "mesh")
	first, second, gone := issue(t, a, "first"), issue(t, a, "first"), issue(t, a, "gone")
	other := must[*ca.Issued](t)(a.Issue("other", ca.IssueOptions{Key: first.Cert.PublicKey}))
	m := a.Material(first)
	p := newPlace(t, m)
	c := p.open()
	damaged := "it is damaged or cut off: of 1 PEM blocks that begin in it 0 can be read"
	half := m.Cert[:len(m.Cert)/2]
	twin := authority(t, "mesh")
	expired := must[*ca.Issued](t)(a.Issue("first", ca.IssueOptions{Validity: 1, Key: first.Cert.PublicKey}))
	const unused = "WARN new credentials are not used: "
	der := first.Cert.Raw
	for _, test := range []struct {
		path string
		data []byte
		want string
	}{
		{p.files.Cert, half, damaged},
		{p.files.Cert, nil, "it is empty"},
		{p.files.Cert, []byte("hello"), "there is no PEM block in it"},
		{p.files.Cert, der, "it is not PEM, it looks like DER: \"openssl x509 -inform DER\" converts certificates, \"openssl crl -inform DER\" revocation lists"},
		{p.files.Cert, m.Key, "there is no certificate in it"},
		{p.files.Cert, bytes.ReplaceAll(m.Cert, []byte("CERTIFICATE"), []byte("TRUSTED")), `a PEM block is "TRUSTED", which is none of certificate, private key and revocation list`},
		{p.files.Cert, expired.CertPEM, fmt.Sprintf("it would be refused: certificate of \"first\" (serial %s) expired on %s", serial(expired),
			expired.Cert.NotAfter.Format("2006-01-02 15:04:05 UTC"))},
		{p.files.Cert, other.CertPEM, `the certificate is that of "other", and this node is "first" until it is started anew`},
		{p.files.Key, half, damaged},
		{p.files.Key, concat(m.Key, m.Key), "there are 2 private keys in it, and one is wanted"},
		{p.files.Key, second.KeyPEM, fmt.Sprintf("the key is not that of the first certificate in %s, the certificate of \"first\" (serial %s): are the two of one issue?", p.files.Cert, serial(first))},
		{p.files.Key, bytes.ReplaceAll(m.Key, []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE")), "the private key is encrypted: \"openssl pkey\" decrypts it"},
		{p.files.Key, bytes.ReplaceAll(m.Key, []byte("PRIVATE"), []byte("OPENSSH PRIVATE")), "a private key is of kind \"OPENSSH PRIVATE KEY\": \"openssl pkey\" converts it"},
		{p.files.Roots, m.Revoked, "there is no certificate in it"},
		{p.files.Roots, m.Cert, fmt.Sprintf("the certificate of \"first\" (serial %s) is no authority's", serial(first))},
		{p.files.Roots, concat(m.Roots, m.Key), "there is a private key in it, which nodes must not have: they need only the certificates"},
		{p.files.Roots, m.Roots[:len(m.Roots)-5], damaged},
		{p.files.Revoked, m.Revoked[:len(m.Revoked)-5], damaged},
		{p.files.Revoked, m.Roots, "there is no revocation list in it"},
		{p.files.Revoked, twin.RevokedPEM(), "the list of \"mesh\": the root of that name has not signed it: x509: ECDSA verification failure"},
	} {
		ch := c.Changed()
		was := must[[]byte](t)(os.ReadFile(test.path))
		p.put(test.path, test.data)
		for range 2 {
			err := c.Reload()
			if want := test.path + ": " + test.want; err == nil || err.Error() != want {
				t.Errorf("error %v\nwant  %v", err, want)
			}
		}
		if got := p.log.take(); strings.Count(got, "\n") != 0 || !strings.HasPrefix(got, unused+test.path+": ") {
			t.Errorf("logged %q", got)
		}
		if changed(ch) || !c.Self().Chain[0].Equal(first.Cert) {
			t.Errorf("%s: used all the same", test.want)
		}
		p.put(test.path, was)
		if err := c.Reload(); err != nil || p.log.take() != "" || changed(ch) {
			t.Errorf("when it is as before: %v", err)
		}
	}

	// Trouble with one does not keep the others.
	if err := a.Revoke(gone.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	p.put(p.files.Cert, half)
	p.put(p.files.Revoked, a.RevokedPEM())
	if err := c.Reload(); err == nil || err.Error() != p.files.Cert+": "+damaged {
		t.Errorf("error %v", err)
	}
	if _, err := c.Verify(must[*ca.Credentials](t)(ca.New(m)).Self().Chain); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if _, err := c.Verify(certs(gone)); !errors.Is(err, ca.ErrRevoked) {
		t.Errorf("the revoked one: %v", err)
	}
	p.put(p.files.Roots, []byte("x"))
	if err := os.Remove(p.files.Revoked); err != nil {
		t.Fatal(err)
	}
	p.put(p.files.Cert, second.CertPEM)
	if err := c.Reload(); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no PEM block") || !strings.Contains(err.Error(), "are the two of one issue?") {
		t.Errorf("all at once: %v", err)
	}
	p.put(p.files.Key, second.KeyPEM)
	if err := c.Reload(); !c.Self().Chain[0].Equal(second.Cert) || err == nil {
		t.Errorf("with its key: %v", err)
	}
	if err := c.Set(m); err == nil || err.Error() != "these credentials are those of files: replace the files" {
		t.Errorf("Set: %v", err)
	}
}

// What cannot be good later either is an error of Open.
func TestOpenErrors(t *testing.T) {
	a, b := authority(t, "mesh"), authority(t, "other")
	m, i := a.Material(issue(t, a, "n")), issue(t, b, "n")
	p := newPlace(t, m)
	if _, err := (ca.Files{}).Open(); err == nil || err.Error() != "a certificate's file and a roots' file are needed, and one is not named" {
		t.Errorf("without names: %v", err)
	}
	for _, path := range []string{p.files.Cert, p.files.Key, p.files.Roots, p.files.Revoked} {
		was := must[[]byte](t)(os.ReadFile(path))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := p.files.Open(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("without %s: %v", path, err)
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := p.files.Open(); err == nil || err.Error() != path+": it is no regular file" {
			t.Errorf("directory %s: %v", path, err)
		}
		os.Remove(path)
		p.put(path, was)
	}
	p.put(p.files.Cert, i.CertPEM)
	p.put(p.files.Key, i.KeyPEM)
	_, err := p.files.Open()
	if want := fmt.Sprintf("%s: it would be refused: certificate of \"n\" (serial %s) is issued by \"other\", which is not trusted here, nor is an authority "+
		"above it that it has shown: trusted is \"mesh\"", p.files.Cert, serial(i)); !errors.Is(err, ca.ErrUnknownAuthority) || err.Error() != want {
		t.Errorf("error %v\nwant  %v", err, want)
	}
	// One file for both will do, and no list.
	p.put(p.files.Cert, concat([]byte("Bag Attributes\n  x: y\n"), m.Cert, m.Key))
	c := must[*ca.Credentials](t)(ca.Files{Cert: p.files.Cert, Roots: p.files.Roots}.Open())
	if c.Self().Name != "n" {
		t.Errorf("name %q", c.Self().Name)
	}
	c.Close()
}

// A volume of Kubernetes changes all files at once, by replacing a symbolic link to their directory.
func TestSymlinkSwap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege there")
	}
	a := authority(t, "mesh")
	p := newPlace(t, a.Material(issue(t, a, "n")))
	version := func(n int, m ca.Material) {
		dir := filepath.Join(p.dir, fmt.Sprint("..", n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"n.pem": m.Cert, "n.key": m.Key, "roots.pem": m.Roots, "revoked.pem": m.Revoked} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tmp := filepath.Join(p.dir, "..data_tmp")
		if err := errors.Join(os.Symlink(dir, tmp), os.Rename(tmp, filepath.Join(p.dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version(1, a.Material(issue(t, a, "n")))
	for _, path := range []string{p.files.Cert, p.files.Key, p.files.Roots, p.files.Revoked} {
		if err := errors.Join(os.Remove(path), os.Symlink(filepath.Join("..data", filepath.Base(path)), path)); err != nil {
			t.Fatal(err)
		}
	}
	c := p.open()
	b := authority(t, "other")
	version(2, b.Material(issue(t, b, "n")))
	if err := c.Reload(); err != nil || c.Self().Chain[0].Issuer.CommonName != "other" || p.log.take() != "INFO credentials have changed" {
		t.Errorf("then %v, %v", c.Self().Chain[0].Issuer, err)
	}
}

// The leaf and the authority change while handshakes go on; none fails.
func TestRotation(t *testing.T) {
	oldCA, newCA := authority(t, "old"), authority(t, "new")
	x, y := newPlace(t, oldCA.Material(issue(t, oldCA, "x"))), newPlace(t, oldCA.Material(issue(t, oldCA, "y")))
	cx, cy := x.open(), y.open()
	stop, done := make(chan struct{}), make(chan int)
	client, server := cx.Client(), cy.Server()
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if _, _, o := meet(t, client, server); o.client != nil || o.server != nil {
				t.Errorf("handshake %d: client %v, server %v", n, o.client, o.server)
			}
		}
	}()
	step := func(change func(p *place, name string)) {
		t.Helper()
		for i, c := range []*ca.Credentials{cx, cy} {
			change([]*place{x, y}[i], []string{"x", "y"}[i])
			if err := c.Reload(); err != nil {
				t.Error(err)
			}
			if _, _, o := meet(t, client, server); o.client != nil || o.server != nil {
				t.Errorf("client %v, server %v", o.client, o.server)
			}
		}
	}
	pair := func(a *ca.Authority) func(p *place, name string) {
		return func(p *place, name string) {
			i := issue(t, a, name)
			p.put(p.files.Key, i.KeyPEM) // the two are not of one issue for a moment
			p.put(p.files.Cert, i.CertPEM)
		}
	}
	step(pair(oldCA))
	step(func(p *place, _ string) { p.put(p.files.Revoked, concat(oldCA.RevokedPEM(), newCA.RevokedPEM())) })
	step(func(p *place, _ string) { p.put(p.files.Roots, concat(oldCA.RootPEM(), newCA.RootPEM())) })
	step(pair(newCA))
	step(func(p *place, _ string) { p.put(p.files.Roots, newCA.RootPEM()) })
	step(func(p *place, _ string) { p.put(p.files.Revoked, newCA.RevokedPEM()) })
	close(stop)
	if n := <-done; n == 0 {
		t.Error("no handshake beside the steps")
	}
	_, err := cx.Verify(certs(issue(t, oldCA, "late")))
	if !errors.Is(err, ca.ErrUnknownAuthority) {
		t.Errorf("of the old authority: %v", err)
	}
	c, _, _ := meet(t, client, server)
	if id := must[ca.Identity](t)(cx.Peer(c.ConnectionState())); id.Chain[0].Issuer.CommonName != "new" {
		t.Errorf("in the end %v", id.Chain[0].Issuer)
	}
}

// A node that its own roots or lists do not accept any more says so, and goes on: what others know decides.
func TestOwnRevoked(t *testing.T) {
	a := authority(t, "mesh")
	i := issue(t, a, "n")
	p := newPlace(t, a.Material(i))
	c, d := p.open(), node(t, a, "d")
	if err := a.Revoke(i.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	p.put(p.files.Revoked, a.RevokedPEM())
	m := a.Material(issue(t, a, "d"))
	if err := errors.Join(c.Reload(), d.Set(m)); err != nil {
		t.Fatal(err)
	}
	at := a.Revoked()[serial(i)].UTC().Format("2006-01-02 15:04:05 UTC")
	why := fmt.Sprintf(`certificate of "n" (serial %s) was revoked by "mesh" on %s`, serial(i), at)
	if got, want := p.log.take(), "WARN this node's certificate would be refused: "+why+"\nINFO credentials have changed"; got != want {
		t.Errorf("logged %q\nwant   %q", got, want)
	}
	_, _, o := meet(t, c.Client(), d.Server())
	checkError(t, "client", c.Explain(o.client), refusal{ca.ErrRefused, "the other end has refused this node (tls: bad certificate): " + why})
}

// What becomes old while nothing is replaced is told, once.
func TestOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := must[*ca.Authority](t)(ca.Create("mesh", ca.Options{Validity: 200 * 24 * time.Hour}))
		i := must[*ca.Issued](t)(a.Issue("n", ca.IssueOptions{Validity: 100 * 24 * time.Hour}))
		p := newPlace(t, a.Material(i))
		p.files.Poll = time.Hour
		c := p.open()
		end := i.Cert.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC")
		time.Sleep(89 * 24 * time.Hour)
		if got := p.log.take(); got != "" {
			t.Errorf("logged %q", got)
		}
		time.Sleep(2 * 24 * time.Hour)
		if got, want := p.log.take(), "WARN this node's certificate is old: "+p.files.Cert+": it expires on "+end+": replace it by then"; got != want {
			t.Errorf("logged %q\nwant   %q", got, want)
		}
		time.Sleep(10 * 24 * time.Hour)
		if got, want := p.log.take(), "WARN this node's certificate is old: "+p.files.Cert+": it has expired on "+end+": replace it"; got != want {
			t.Errorf("logged %q\nwant   %q", got, want)
		}
		time.Sleep(100 * 24 * time.Hour)
		if got, want := p.log.take(), "WARN revocation list is old, and used all the same: "+p.files.Revoked+": the list of \"mesh\" should have been replaced by "+
			a.Cert().NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"); got != want {
			t.Errorf("logged %q\nwant   %q", got, want)
		}
		c.Close()
	})
}
