package ca_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/internal/needs"
)

// openssl runs openssl in a directory.
func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needs.Program(t, "openssl"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const opensslConfig = `
[ca]
default_ca = mesh
[mesh]
database = index.txt
serial = serial
crlnumber = crlnumber
certificate = ca.pem
private_key = ca.key
new_certs_dir = .
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = optional
[req]
distinguished_name = dn
prompt = no
[dn]
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = ${ENV::SAN}
[bare]
basicConstraints = CA:false
`

// The certificates, keys and lists that openssl makes do, of each kind of key.
func TestOpenSSL(t *testing.T) {
	for _, key := range []struct{ kind, option string }{{"EC", "ec_paramgen_curve:P-256"}, {"RSA", "rsa_keygen_bits:2048"}, {"ED25519", ""}} {
		t.Run(key.kind, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"openssl.cnf": opensslConfig, "index.txt": "", "serial": "1000", "crlnumber": "01"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			genkey := func(file string) {
				args := []string{"genpkey", "-algorithm", key.kind, "-out", file}
				if key.option != "" {
					args = append(args, "-pkeyopt", key.option)
				}
				openssl(t, dir, args...)
			}
			t.Setenv("SAN", "DNS:unused")
			genkey("ca.key")
			openssl(t, dir, "req", "-config", "openssl.cnf", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=theirs", "-days", "30", "-extensions", "root", "-out", "ca.pem")
			node := func(file, subject, san, extensions string) ca.Files {
				genkey(file + ".key")
				t.Setenv("SAN", san)
				openssl(t, dir, "req", "-config", "openssl.cnf", "-new", "-key", file+".key", "-subj", subject, "-out", file+".csr")
				openssl(t, dir, "ca", "-config", "openssl.cnf", "-batch", "-extensions", extensions, "-in", file+".csr", "-out", file+".pem")
				return ca.Files{Cert: filepath.Join(dir, file+".pem"), Key: filepath.Join(dir, file+".key"), Roots: filepath.Join(dir, "ca.pem"),
					Revoked: filepath.Join(dir, "crl.pem"), Poll: -1}
			}
			openssl(t, dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
			var all []*ca.Credentials
			for i, test := range []struct{ subject, san, extensions, want string }{
				{"/CN=x", "URI:spiffe://mesh/a,DNS:x,DNS:y", "node", "spiffe://mesh/a"},
				{"/CN=x", "DNS:b.example,IP:127.0.0.1", "node", "b.example"},
				{"/CN=c", "DNS:unused", "bare", "c"},
			} {
				c := must[*ca.Credentials](t)(node(fmt.Sprint("n", i), test.subject, test.san, test.extensions).Open())
				if c.Self().Name != test.want {
					t.Errorf("name %q, want %q", c.Self().Name, test.want)
				}
				all = append(all, c)
			}
			for i, c := range all {
				if _, _, o := meet(t, c.Client(), all[(i+1)%3].Server()); o.client != nil || o.server != nil {
					t.Errorf("client %v, server %v", o.client, o.server)
				}
			}
			openssl(t, dir, "ca", "-config", "openssl.cnf", "-revoke", "n1.pem")
			openssl(t, dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
			if err := all[0].Reload(); err != nil {
				t.Fatal(err)
			}
			if _, err := all[0].Verify(all[2].Self().Chain); err != nil {
				t.Errorf("one that is not revoked: %v", err)
			}
			_, err := all[0].Verify(all[1].Self().Chain)
			if want := `certificate of "b.example" (serial 1001) was revoked by "theirs" on `; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s...", err, want)
			}

			// Its directory is an authority's like ours.
			if err := os.Rename(filepath.Join(dir, "crl.pem"), filepath.Join(dir, "revoked.pem")); err != nil {
				t.Fatal(err)
			}
			a := must[*ca.Authority](t)(ca.OpenAuthority(dir))
			more := must[*ca.Issued](t)(a.Issue("more", ca.IssueOptions{}))
			if err := a.Revoke(more.Cert.SerialNumber); err != nil {
				t.Fatal(err)
			}
			if _, err := all[0].Verify(certs(more)); err != nil {
				t.Errorf("ours of theirs: %v", err)
			}
			if got := openssl(t, dir, "crl", "-in", "revoked.pem", "-noout", "-text", "-CAfile", "ca.pem", "-verify"); !strings.Contains(got, "Serial Number: 1001") ||
				!strings.Contains(got, "Serial Number: "+strings.ToUpper(serial(more))) {
				t.Errorf("the list is\n%s", got)
			}
		})
	}
}

// What we issue is good to openssl, and its TLS and ours understand each other.
func TestForOpenSSL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	root := authority(t, "mesh")
	sub := must[*ca.Authority](t)(root.Sub("sub", ca.Options{}))
	if err := sub.Save(dir); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"spiffe://mesh/a", "b.example", "α"} {
		issued := issue(t, sub, name)
		file := filepath.Join(dir, fmt.Sprint("n", i))
		for suffix, data := range map[string][]byte{".pem": issued.CertPEM, ".key": issued.KeyPEM, ".roots": root.RootPEM()} {
			if err := os.WriteFile(file+suffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, purpose := range []string{"sslclient", "sslserver"} {
			openssl(t, dir, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", file+".roots", "-untrusted", file+".pem", file+".pem")
		}
	}

	c := node(t, root, "n")
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	result := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			result <- err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		s := tls.Server(conn, c.Server())
		if err = s.Handshake(); err == nil {
			id, _ := c.Peer(s.ConnectionState())
			_, err = io.WriteString(s, "hello of "+id.Name+"\n")
			s.Close()
		}
		result <- err
	}()
	got := openssl(t, dir, "s_client", "-connect", l.Addr().String(), "-alpn", ca.ALPN, "-cert", "n0.pem", "-key", "n0.key", "-cert_chain", "n0.pem", "-CAfile", "n0.roots",
		"-verify_return_error", "-quiet")
	if err := <-result; err != nil || !strings.Contains(got, "hello of spiffe://mesh/a") {
		t.Errorf("%v, openssl says\n%s", err, got)
	}
}
