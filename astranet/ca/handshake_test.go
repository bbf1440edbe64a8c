package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// Nodes of one mesh know each other by name; all in memory, so in a bubble too.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t, "mesh")
		client, server := node(t, a, "α"), node(t, a, "spiffe://mesh/b")
		near, far := net.Pipe()
		c, s, o := meetOn(t, near, far, client.Client(), server.Server())
		if o.client != nil || o.server != nil {
			t.Fatalf("client %v, server %v", o.client, o.server)
		}
		if cs := c.ConnectionState(); cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != ca.ALPN || cs.DidResume {
			t.Errorf("version %x, protocol %q, resumed %v", cs.Version, cs.NegotiatedProtocol, cs.DidResume)
		}
		at := must[ca.Identity](t)(server.Peer(s.ConnectionState()))
		if at.Name != "α" || !at.Expires.Equal(at.Chain[0].NotAfter) {
			t.Errorf("the server sees %q until %v", at.Name, at.Expires)
		}
		if at := must[ca.Identity](t)(client.Peer(c.ConnectionState())); at.Name != "spiffe://mesh/b" {
			t.Errorf("the client sees %q", at.Name)
		}
		if client.Self().Name != "α" || client.Close() != nil || client.Reload() != nil {
			t.Errorf("the client is %q", client.Self().Name)
		}
	})
}

// own returns a certificate that an authority of the test's own has issued, with whatever is in it.
type own struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newOwn(t testing.TB, template *x509.Certificate) own {
	o := own{t: t, key: must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	template.BasicConstraintsValid, template.IsCA = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	o.cert = o.sign(template, template, o.key)
	return o
}

func (o own) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	o.t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(0x1234)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Minute)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der := must[[]byte](o.t)(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), o.key))
	return must[*x509.Certificate](o.t)(x509.ParseCertificate(der))
}

func certPEM(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// leaf returns a certificate and its key.
func (o own) leaf(template *x509.Certificate) (*x509.Certificate, tls.Certificate) {
	key := must[*ecdsa.PrivateKey](o.t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	cert := o.sign(template, o.cert, key)
	return cert, tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

var both = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

func uri(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// showing returns a configuration that shows a certificate, and accepts any.
func showing(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert, NextProtos: []string{ca.ALPN}}
}

const day = 24 * time.Hour

// Whatever is wrong with a certificate is said in so many words, whichever end shows it, and the end that shows it learns
// that it is refused.
func TestRefused(t *testing.T) {
	now := time.Now()
	stamp := func(d time.Duration) string { return now.Add(d).UTC().Format("2006-01-02 15:04:05 UTC") }
	for _, test := range []struct {
		name string
		leaf x509.Certificate
		want refusal
	}{
		{"expired", x509.Certificate{DNSNames: []string{"a"}, NotBefore: now.Add(-3 * day), NotAfter: now.Add(-day)},
			refusal{ca.ErrExpired, `certificate of "a" (serial 1234) expired on ` + stamp(-day)}},
		{"client only", x509.Certificate{DNSNames: []string{"a"}, ExtKeyUsage: both[1:]},
			refusal{ca.ErrUsage, `certificate of "a" (serial 1234) is not for TLS servers (extended key usage of the certificate): a node is server and client, issue it for both`}},
		{"server only", x509.Certificate{DNSNames: []string{"a"}, ExtKeyUsage: both[:1]},
			refusal{ca.ErrUsage, `certificate of "a" (serial 1234) is not for TLS clients (extended key usage of the certificate): a node is server and client, issue it for both`}},
		{"for mail", x509.Certificate{DNSNames: []string{"a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}},
			refusal{ca.ErrUsage, `certificate of "a" (serial 1234) is not for TLS servers (extended key usage of the certificate): a node is server and client, issue it for both`}},
		{"no signatures", x509.Certificate{DNSNames: []string{"a"}, KeyUsage: x509.KeyUsageKeyEncipherment},
			refusal{ca.ErrUsage, `certificate of "a" (serial 1234) is not for digital signatures (its key usage), which TLS 1.3 needs`}},
		{"authority", x509.Certificate{Subject: pkix.Name{CommonName: "a"}, IsCA: true, BasicConstraintsValid: true},
			refusal{ca.ErrUsage, `authority "a" (serial 1234) is an authority's: a node has one of its own`}},
		{"no name", x509.Certificate{Subject: pkix.Name{Organization: []string{"o"}}},
			refusal{ca.ErrName, `certificate of "O=o" (serial 1234) cannot be a node's: it has no name: a node's certificate has a URI name, a DNS name or a common name`}},
		{"nothing", x509.Certificate{EmailAddresses: []string{"a@b.c"}},
			refusal{ca.ErrName, `certificate without a name (serial 1234) cannot be a node's: it has no name: a node's certificate has a URI name, a DNS name or a common name`}},
		{"two names", x509.Certificate{Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a", "b"}},
			refusal{ca.ErrName, `certificate of "CN=a" (serial 1234) cannot be a node's: it has 2 DNS names ("a", "b", ...), and a node has one name: issue it with one, or with one URI name beside them`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOwn(t, &x509.Certificate{Subject: pkix.Name{CommonName: "mesh"}})
			_, good := o.leaf(&x509.Certificate{DNSNames: []string{"good"}})
			key := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(good.PrivateKey))
			c := must[*ca.Credentials](t)(ca.New(ca.Material{
				Cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good.Certificate[0]}),
				Key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
				Roots: certPEM(o.cert),
			}))
			leaf, pair := o.leaf(&test.leaf)
			_, err := c.Verify([]*x509.Certificate{leaf})
			checkError(t, "Verify", err, test.want)
			_, _, out := meet(t, c.Client(), showing(pair))
			checkError(t, "client", out.client, test.want)
			checkRemote(t, "server", out.server, "tls: bad certificate")
			_, _, out = meet(t, showing(pair), c.Server())
			checkError(t, "server", out.server, test.want)
			checkRemote(t, "client", out.client, "tls: bad certificate")
		})
	}
}

func checkRemote(t *testing.T, who string, err error, alert string) {
	t.Helper()
	if want := "remote error: " + alert; fmt.Sprint(err) != want {
		t.Errorf("%s: error %v, want %s", who, err, want)
	}
}

func TestNotYetValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t, "mesh")
		i := issue(t, a, "late")
		late := must[*ca.Credentials](t)(ca.New(a.Material(i)))
		o := newOwn(t, &x509.Certificate{Subject: pkix.Name{CommonName: "own"}})
		leaf, _ := o.leaf(&x509.Certificate{DNSNames: []string{"a"}, NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(2 * day)})
		m := a.Material(i)
		m.Roots = concat(m.Roots, certPEM(o.cert))
		c := must[*ca.Credentials](t)(ca.New(m))
		_, err := c.Verify([]*x509.Certificate{leaf})
		checkError(t, "Verify", err, refusal{ca.ErrNotYetValid,
			`certificate of "a" (serial 1234) is not valid before 2000-01-02 00:00:00 UTC, and here it is 2000-01-01 00:00:00 UTC: is a clock wrong?`})
		time.Sleep(366 * day)
		_, err = late.Verify(late.Self().Chain)
		checkError(t, "a year later", err, refusal{ca.ErrExpired, `certificate of "late" (serial %s) expired on 2000-12-31 00:00:00 UTC`}, serial(i))
		e := err.(*ca.Error)
		if !e.At.Equal(i.Cert.NotAfter) || !e.Cert.Equal(i.Cert) {
			t.Errorf("error at %v of %v", e.At, e.Cert.Subject)
		}
		if _, ok := (any)(e.Err).(x509.CertificateInvalidError); !ok {
			t.Errorf("its cause is %T", e.Err)
		}
	})
}

func TestUnknownAuthority(t *testing.T) {
	ours, theirs, twin := authority(t, "ours"), authority(t, "theirs"), authority(t, "ours")
	a, i, j := node(t, ours, "a"), issue(t, theirs, "b"), issue(t, twin, "b")
	b, b2 := must[*ca.Credentials](t)(ca.New(theirs.Material(i))), must[*ca.Credentials](t)(ca.New(twin.Material(j)))
	_, _, o := meet(t, a.Client(), b.Server())
	want := refusal{ca.ErrUnknownAuthority, `certificate of "b" (serial %s) is issued by "theirs", which is not trusted here, nor is an authority above it that it has shown: trusted is "ours"`}
	checkError(t, "client", a.Explain(o.client), want, serial(i))
	checkRemote(t, "server", o.server, "tls: bad certificate")
	checkError(t, "the server's explanation", b.Explain(o.server), refusal{ca.ErrRefused,
		`the other end has refused this node (tls: bad certificate). The certificate of "b" (serial %s), issued by "theirs", is good as far as is known here; ` +
			`the other end may trust other authorities, have it revoked, or have another time: it knows why`}, serial(i))
	_, err := a.Verify(b2.Self().Chain)
	checkError(t, "of the same name", err, refusal{ca.ErrUnknownAuthority, `certificate of "b" (serial %s) is issued by an authority that is called "ours", as one that is ` +
		`trusted here, but has another key: it is another one, or a new one whose certificate is not among the roots here`}, serial(j))
}

// One whose own certificate is not good any more is told so when it is refused.
func TestExplainOwn(t *testing.T) {
	a := authority(t, "mesh")
	i := issue(t, a, "b")
	server, client := node(t, a, "a"), must[*ca.Credentials](t)(ca.New(a.Material(i)))
	m := a.Material(issue(t, a, "a"))
	if err := a.Revoke(i.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	m.Revoked = a.RevokedPEM()
	if err := server.Set(m); err != nil {
		t.Fatal(err)
	}
	if err := server.Set(a.Material(issue(t, a, "c"))); err == nil || err.Error() != `the certificate is that of "c", and this node is "a" until it is started anew` {
		t.Errorf("another name: %v", err)
	}
	_, _, o := meet(t, client.Client(), server.Server())
	at := a.Revoked()[serial(i)].UTC().Format("2006-01-02 15:04:05 UTC")
	checkError(t, "server", o.server, refusal{ca.ErrRevoked, `certificate of "b" (serial %s) was revoked by "mesh" on ` + at}, serial(i))
	checkRemote(t, "client", o.client, "tls: bad certificate")
	if got := client.Explain(o.client); !strings.Contains(got.Error(), "is good as far as is known here") {
		t.Errorf("before it knows: %v", got)
	}
	// With the list it would not even begin.
	_, err := ca.New(ca.Material{Cert: i.CertPEM, Key: i.KeyPEM, Roots: a.RootPEM(), Revoked: a.RevokedPEM()})
	checkError(t, "New", err, refusal{ca.ErrRevoked, `certificate: it would be refused: certificate of "b" (serial %s) was revoked by "mesh" on ` + at}, serial(i))
}

func TestStrangers(t *testing.T) {
	a := authority(t, "mesh")
	n := node(t, a, "a")
	web := must[*ca.Issued](t)(a.Issue("www.example", ca.IssueOptions{}))
	pair := must[tls.Certificate](t)(tls.X509KeyPair(web.CertPEM, web.KeyPEM))
	alpn := func(protocols ...string) *tls.Config {
		c := showing(pair)
		c.NextProtos = protocols
		return c
	}
	old := showing(pair)
	old.MaxVersion = tls.VersionTLS12
	for _, test := range []struct {
		name     string
		config   *tls.Config
		dials    bool // it dials the node
		node     refusal
		stranger string
	}{
		{"web client", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}, true,
			refusal{ca.ErrForeign, `the other end is no node: it speaks TLS, but not "astranet/1" in it`}, "remote error: tls: no application protocol"},
		{"web client without ALPN", &tls.Config{InsecureSkipVerify: true}, true,
			refusal{ca.ErrNoCertificate, `the other end has shown no certificate: it is no node, or one without credentials`}, "remote error: tls: certificate required"},
		{"client without certificate", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ca.ALPN}}, true,
			refusal{ca.ErrNoCertificate, `the other end has shown no certificate: it is no node, or one without credentials`}, "remote error: tls: certificate required"},
		{"client with certificate, without ALPN", alpn(), true,
			refusal{ca.ErrForeign, `the other end is no node: it speaks TLS, but not "astranet/1" in it (certificate of "www.example" (serial %s))`}, "remote error: tls: bad certificate"},
		{"client of TLS 1.2", old, true,
			refusal{ca.ErrForeign, `the other end does not speak TLS 1.3`}, "remote error: tls: protocol version not supported"},
		{"server of TLS 1.2", old, false,
			refusal{ca.ErrForeign, `the other end does not speak TLS 1.3 as nodes do (tls: protocol version not supported)`}, "tls: client offered only unsupported versions: [304]"},
		{"web server", alpn("h2", "http/1.1"), false,
			refusal{ca.ErrForeign, `the other end is no node: it speaks TLS, but not "astranet/1" in it`}, `tls: client requested unsupported application protocols (["astranet/1"])`},
		{"web server without ALPN", alpn(), false,
			refusal{ca.ErrForeign, `the other end is no node: it speaks TLS, but not "astranet/1" in it (certificate of "www.example" (serial %s))`}, "remote error: tls: bad certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mine, their error
			if test.dials {
				_, _, o := meet(t, test.config, n.Server())
				mine, their = o.server, o.client
			} else {
				_, _, o := meet(t, n.Client(), test.config)
				mine, their = o.client, o.server
			}
			checkError(t, "node", n.Explain(mine), test.node, serial(web))
			if fmt.Sprint(their) != test.stranger {
				t.Errorf("stranger: %v, want %v", their, test.stranger)
			}
		})
	}
}

func TestIntermediates(t *testing.T) {
	root := authority(t, "root")
	sub := must[*ca.Authority](t)(root.Sub("sub", ca.Options{}))
	subsub := must[*ca.Authority](t)(sub.Sub("subsub", ca.Options{Validity: 24 * time.Hour}))
	a, b := node(t, root, "a"), node(t, subsub, "b")
	for _, pair := range [][2]*ca.Credentials{{a, b}, {b, a}} {
		if _, _, o := meet(t, pair[0].Client(), pair[1].Server()); o.client != nil || o.server != nil {
			t.Errorf("client %v, server %v", o.client, o.server)
		}
	}
	id := must[ca.Identity](t)(a.Verify(b.Self().Chain))
	if !id.Expires.Equal(subsub.Cert().NotAfter) {
		t.Errorf("expires %v, want with the authority %v", id.Expires, subsub.Cert().NotAfter)
	}
	_, err := a.Verify(b.Self().Chain[:1])
	checkError(t, "without the intermediates", err, refusal{ca.ErrUnknownAuthority, `certificate of "b" (serial %s) is issued by "subsub", which is not trusted here, ` +
		`nor is an authority above it that it has shown: trusted is "root"`}, ca.Serial(b.Self().Chain[0].SerialNumber))
	if _, err := ca.New(ca.Material{Roots: certPEM(sub.Cert())}); err == nil {
		t.Error("no certificate, and no error")
	}

	// What the root, the one above and the one in the middle have revoked counts, each list of its own authority.
	i := issue(t, root, "c")
	for _, test := range []struct {
		by     *ca.Authority
		serial *x509.Certificate
		text   string
	}{
		{root, sub.Cert(), `authority "sub"`},
		{sub, subsub.Cert(), `authority "subsub"`},
		{subsub, b.Self().Chain[0], `certificate of "b"`},
	} {
		if err := test.by.Revoke(test.serial.SerialNumber); err != nil {
			t.Fatal(err)
		}
		c := must[*ca.Credentials](t)(ca.New(ca.Material{Cert: i.CertPEM, Key: i.KeyPEM, Roots: root.RootPEM(), Revoked: test.by.RevokedPEM()}))
		_, err := c.Verify(b.Self().Chain)
		at := test.by.Revoked()[ca.Serial(test.serial.SerialNumber)].UTC().Format("2006-01-02 15:04:05 UTC")
		checkError(t, test.text, err, refusal{ca.ErrRevoked, fmt.Sprintf("%s (serial %s) was revoked by %q on %s", test.text, ca.Serial(test.serial.SerialNumber), test.by.Name(), at)})
	}
}

// An authority that may issue only certain names cannot issue others as common names.
func TestConstrained(t *testing.T) {
	o := newOwn(t, &x509.Certificate{Subject: pkix.Name{CommonName: "team"}, PermittedDNSDomains: []string{"team.example"}, PermittedURIDomains: []string{"team.example"}})
	a := authority(t, "mesh")
	m := a.Material(issue(t, a, "n"))
	m.Roots = concat(m.Roots, certPEM(o.cert))
	c := must[*ca.Credentials](t)(ca.New(m))
	verify := func(t *testing.T, template x509.Certificate) error {
		leaf, _ := o.leaf(&template)
		_, err := c.Verify([]*x509.Certificate{leaf})
		return err
	}
	checkError(t, "DNS", verify(t, x509.Certificate{DNSNames: []string{"a.team.example"}}), refusal{})
	checkError(t, "URI", verify(t, x509.Certificate{URIs: []*url.URL{uri("spiffe://team.example/a")}}), refusal{})
	if err := verify(t, x509.Certificate{DNSNames: []string{"boss.example"}}); err == nil ||
		!strings.HasPrefix(err.Error(), `certificate of "boss.example" (serial 1234) is not valid: `) {
		t.Errorf("another DNS name: %v", err)
	} else {
		checkError(t, "another DNS name", err, refusal{ca.ErrInvalid, err.Error()})
	}
	checkError(t, "common name", verify(t, x509.Certificate{Subject: pkix.Name{CommonName: "a.team.example"}}), refusal{ca.ErrName,
		`certificate of "a.team.example" (serial 1234) has only a common name, and the authority "team" (serial 1234) is constrained in the names it may issue: issue it with a DNS name or a URI name`})
}

// The end that dials is refused after its part of the handshake is done. What it has sent by then does not keep the reason
// from it, if the other end reads that before it closes.
func TestRefusalArrives(t *testing.T) {
	ours, theirs := authority(t, "ours"), authority(t, "theirs")
	server := node(t, ours, "server")
	client := must[*ca.Credentials](t)(ca.New(func() ca.Material {
		m := theirs.Material(issue(t, theirs, "client"))
		m.Roots = concat(m.Roots, ours.RootPEM())
		return m
	}()))
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if tls.Server(conn, server.Server()).Handshake() != nil {
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			io.Copy(io.Discard, conn)
		}
	}()
	conn := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(conn, client.Client())
	if err := c.Handshake(); err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	c.Write(make([]byte, 100<<10))
	_, err := c.Read(make([]byte, 1))
	checkRemote(t, "Read", err, "tls: bad certificate")
	if err := client.Explain(err); !errors.Is(err, ca.ErrRefused) {
		t.Errorf("explained: %v", err)
	}
}
