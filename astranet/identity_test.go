package astranet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// journal is a log of one line a record, the message and the attributes as they are.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) logger() *slog.Logger { return slog.New(&journalHandler{j: j}) }

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// count returns how many lines have the text in them.
func (j *journal) count(text string) (n int) {
	for _, line := range j.all() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// want waits for a line that ends so.
func (j *journal) want(t testing.TB, end string) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < patience/4; time.Sleep(time.Millisecond) {
		for _, line := range j.all() {
			if strings.HasSuffix(line, end) {
				return
			}
		}
	}
	t.Errorf("no line in the log that ends\n\t%s\nit is\n\t%s", end, strings.Join(j.all(), "\n\t"))
}

type journalHandler struct{ j *journal }

func (*journalHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *journalHandler) WithGroup(string) slog.Handler          { return h }
func (h *journalHandler) WithAttrs([]slog.Attr) slog.Handler     { return h } // who it is the test knows

func (h *journalHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	h.j.mu.Lock()
	defer h.j.mu.Unlock()
	h.j.lines = append(h.j.lines, line)
	return nil
}

// journaled returns the settings with a log.
func journaled(c astranet.Config) (astranet.Config, *journal) {
	j := new(journal)
	c.Logger = j.logger()
	return c, j
}

// A member is a node's certificate, and its credentials.
type member struct {
	*ca.Issued
	material ca.Material
	creds    *ca.Credentials
}

func (m member) serial() string { return ca.Serial(m.Cert.SerialNumber) }

// enrol issues a certificate. What else is trusted is in roots.
func enrol(t testing.TB, a *ca.Authority, name string, validity time.Duration, roots ...*ca.Authority) member {
	t.Helper()
	i, err := a.Issue(name, ca.IssueOptions{Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	m := a.Material(i)
	for _, r := range roots {
		m.Roots = append(m.Roots, r.RootPEM()...)
		m.Revoked = append(m.Revoked, r.RevokedPEM()...)
	}
	c, err := ca.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return member{i, m, c}
}

// stamp writes a time as errors do.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// A carriage is a way to have two nodes meet. It returns what the one that dials says, or "" if that is in its log as well.
type carriage struct {
	name string
	meet func(t *testing.T, listens, dials astranet.AstraNet) string
}

// virtual is a network of its own, without buffers, over which nodes with this setting can be linked.
func virtual(t testing.TB) (near, far xnet.Networker) {
	n := pipenet.New("test")
	t.Cleanup(func() { pipenet.AsVirtNet(n).Close() })
	return n.Host("near"), n.Host("far")
}

func joining(network string, address func(t *testing.T) string) func(*testing.T, astranet.AstraNet, astranet.AstraNet) string {
	return func(t *testing.T, listens, dials astranet.AstraNet) string {
		t.Helper()
		if err := listens.ListenAndServe(network, address(t)); err != nil {
			t.Fatal(err)
		}
		addr := listens.Addrs()[0].String()
		err := dials.Join(network, addr)
		if err == nil {
			t.Fatal("Join gives no error")
		}
		return strings.TrimPrefix(err.Error(), "join "+network+" "+addr+": ")
	}
}

func attaching(stream func() (a, b io.ReadWriter)) func(*testing.T, astranet.AstraNet, astranet.AstraNet) string {
	return func(t *testing.T, listens, dials astranet.AstraNet) string {
		a, b := stream()
		var both sync.WaitGroup
		both.Go(func() { listens.Attach(a) })
		both.Go(func() { dials.Attach(b) })
		both.Wait()
		return ""
	}
}

var carriages = []carriage{
	{"tcp", joining("tcp", func(*testing.T) string { return "127.0.0.1:0" })},
	{"unix", joining("unix", func(t *testing.T) string { return filepath.Join(t.TempDir(), "s") })},
	{"ws", joining("ws", func(*testing.T) string { return "127.0.0.1:0/mesh" })},
	{"pipenet", joining("pipetest", func(*testing.T) string { return ":0" })},
	{"net.Pipe", attaching(func() (a, b io.ReadWriter) { x, y := net.Pipe(); return x, y })},
	{"io.Pipes", attaching(func() (a, b io.ReadWriter) {
		ar, bw := io.Pipe()
		br, aw := io.Pipe()
		return closer{duplex{ar, aw}, new(atomic.Int32)}, closer{duplex{br, bw}, new(atomic.Int32)}
	})},
}

// Over every carrier, whichever end dials: who has not the right certificate is refused, both ends say why, and soon.
func TestRefusedOverEveryCarrier(t *testing.T) {
	t.Parallel()
	mesh, other := namedCA(t, "mesh"), namedCA(t, "other")
	good := enrol(t, mesh, "good", 0)
	stranger := enrol(t, other, "spiffe://other/bad", 0, mesh)
	revoked := enrol(t, mesh, "revoked ☃ node", 0)
	if err := mesh.Revoke(revoked.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	revokedAt := mesh.Revoked()[revoked.serial()]
	good.material.Revoked = mesh.RevokedPEM()
	if err := good.creds.Set(good.material); err != nil {
		t.Fatal(err)
	}
	expired := enrol(t, mesh, "expired", time.Second)
	time.Sleep(time.Until(expired.Cert.NotAfter.Add(10 * time.Millisecond)))
	mayBe := ", is good as far as is known here; the other end may trust other authorities, have it revoked, or have another time: it knows why"
	for _, x := range []struct {
		name         string
		bad          member
		wants, learn string // what the good one says, and the bad one
	}{
		{"another authority's", stranger,
			`certificate of "spiffe://other/bad" (serial %s) is issued by "other", which is not trusted here, nor is an authority above it that it has shown: trusted is "mesh"`,
			`the other end has refused this node (tls: bad certificate). The certificate of "spiffe://other/bad" (serial %s), issued by "other"` + mayBe},
		{"revoked", revoked,
			`certificate of "revoked ☃ node" (serial %s) was revoked by "mesh" on ` + stamp(revokedAt),
			`the other end has refused this node (tls: bad certificate). The certificate of "revoked ☃ node" (serial %s), issued by "mesh"` + mayBe},
		{"expired", expired,
			`certificate of "expired" (serial %s) expired on ` + stamp(expired.Cert.NotAfter),
			`the other end has refused this node (tls: bad certificate): certificate of "expired" (serial %s) expired on ` + stamp(expired.Cert.NotAfter)},
	} {
		for _, by := range carriages {
			for _, dials := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, it dials: %v", x.name, by.name, dials), func(t *testing.T) {
					t.Parallel()
					near, far := virtual(t)
					cg, jg := journaled(astranet.Config{Credentials: good.creds, Networks: []xnet.Networker{near}})
					cb, jb := journaled(astranet.Config{Credentials: x.bad.creds, Networks: []xnet.Networker{far}})
					g, b := newNode(t, cg), newNode(t, cb)
					begin := time.Now()
					jl, jd, wantL, wantD, said := jg, jb, x.wants, x.learn, ""
					if dials {
						said = by.meet(t, g, b)
					} else {
						jl, jd, wantL, wantD = jb, jg, x.learn, x.wants
						said = by.meet(t, b, g)
					}
					if d := time.Since(begin); d > 3*time.Second {
						t.Errorf("it took %v", d)
					}
					wantL, wantD = fmt.Sprintf(wantL, x.bad.serial()), fmt.Sprintf(wantD, x.bad.serial())
					if said == "" {
						jd.want(t, "an attached connection has ended why="+wantD)
						jl.want(t, "an attached connection has ended why="+wantL)
					} else {
						if said != wantD {
							t.Errorf("Join says\n\t%s, want\n\t%s", said, wantD)
						}
						jl.want(t, " why="+wantL)
						if n := jl.count("did not become a link"); n != 1 && x.name != "expired" { // which may be put right
							t.Errorf("%d connections did not become links, want 1", n)
						}
					}
					if n := len(g.Routes()) + len(b.Routes()) + astranet.Peers(g) + astranet.Peers(b); n != 0 {
						t.Errorf("they know each other: %d", n)
					}
				})
			}
		}
	}
}

// issuer is an authority that issues anything.
type issuer struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newIssuer(t testing.TB, name string) *issuer {
	o := &issuer{t: t}
	o.key, o.cert = o.newKey(), &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	o.cert = o.sign(o.cert, o.cert, o.key)
	return o
}

func (o *issuer) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

func (o *issuer) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		o.t.Fatal(err)
	}
	return cert
}

func (o *issuer) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.cert.Raw})
}

// shows returns the settings of a TLS end that shows a certificate and takes any.
func (o *issuer) shows(template x509.Certificate) *tls.Config {
	template.SerialNumber = big.NewInt(0x1234)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	}
	key := o.newKey()
	cert := o.sign(&template, o.cert, key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert, NextProtos: []string{ca.ALPN}}
}

func mustURL(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What no node of ours would show, and TLS as no node of ours speaks it.
func TestStrangeCertificates(t *testing.T) {
	t.Parallel()
	mesh, any := namedCA(t, "mesh"), newIssuer(t, "any")
	good := enrol(t, mesh, "good", 0)
	good.material.Roots = append(good.material.Roots, any.rootPEM()...)
	if err := good.creds.Set(good.material); err != nil {
		t.Fatal(err)
	}
	named := x509.Certificate{DNSNames: []string{"x"}}
	with := func(change func(*x509.Certificate)) *tls.Config {
		c := named
		change(&c)
		return any.shows(c)
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	onlyFor := func(u x509.ExtKeyUsage) *tls.Config {
		return with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} })
	}
	old := with(func(*x509.Certificate) {})
	old.MaxVersion = tls.VersionTLS12
	web := with(func(*x509.Certificate) {})
	web.NextProtos = []string{"h2"}
	bare := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ca.ALPN}}
	const x, bad = `certificate of "x" (serial 1234) `, "remote error: tls: bad certificate"
	for _, k := range []struct {
		name           string
		config         *tls.Config
		dials, listens string // what the node says if the stranger dials, or listens; "-" for neither
		learns, learnt string // what the stranger learns, likewise
	}{
		{"not yet valid", with(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = tomorrow, tomorrow.Add(time.Hour) }),
			x + "is not valid before " + stamp(tomorrow) + ", and here it is NOW: is a clock wrong?", "", bad, bad},
		{"for clients only", onlyFor(x509.ExtKeyUsageClientAuth),
			x + "is not for TLS servers (extended key usage of the certificate): a node is server and client, issue it for both", "", bad, bad},
		{"for servers only", onlyFor(x509.ExtKeyUsageServerAuth),
			x + "is not for TLS clients (extended key usage of the certificate): a node is server and client, issue it for both", "", bad, bad},
		{"two names", with(func(c *x509.Certificate) { c.DNSNames = []string{"a", "b"} }),
			"CN cannot be a node's: it has 2 DNS names (\"a\", \"b\", ...), and a node has one name: issue it with one, or with one URI name beside them", "", bad, bad},
		{"a name that moves the cursor", with(func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "a\x1b[2J\n" }),
			"CN cannot be a node's: its common name \"a\\x1b[2J\\n\" has characters that cannot be printed", "", bad, bad},
		{"a bad SPIFFE name", with(func(c *x509.Certificate) { c.DNSNames = nil; c.URIs = append(c.URIs, mustURL(t, "spiffe://mesh")) }),
			"CN cannot be a node's: its URI name \"spiffe://mesh\" names a trust domain, not a node: spiffe://domain/node does", "", bad, bad},
		{"an authority's", with(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true; c.Subject.CommonName = "x" }),
			"authority \"x\" (serial 1234) is an authority's: a node has one of its own", "", bad, bad},
		{"TLS 1.2", old, "the other end does not speak TLS 1.3", "the other end does not speak TLS 1.3 as nodes do (tls: protocol version not supported)",
			"remote error: tls: protocol version not supported", "tls: client offered only unsupported versions: [304]"},
		{"another protocol in TLS", web, `the other end is no node: it speaks TLS, but not "astranet/1" in it`, `the other end is no node: it speaks TLS, but not "astranet/1" in it`,
			"remote error: tls: no application protocol", `tls: client requested unsupported application protocols (["astranet/1"])`},
		{"no certificate", bare, "the other end has shown no certificate: it is no node, or one without credentials", "-", "remote error: tls: certificate required", ""},
	} {
		if k.listens == "" {
			k.listens = k.dials
		}
		fix := func(s, said string) string {
			if i := strings.Index(s, "CN "); i == 0 {
				_, rest, _ := strings.Cut(said, "cannot be a node's")
				return strings.TrimSuffix(said, "cannot be a node's"+rest) + s[3:]
			}
			_, now, _ := strings.Cut(said, "and here it is ")
			now, _, _ = strings.Cut(now, ": is a clock")
			return strings.Replace(s, "NOW", now, 1)
		}
		t.Run(k.name+", dials", func(t *testing.T) {
			t.Parallel()
			c, j := journaled(astranet.Config{Credentials: good.creds})
			_, addr := listening(t, c)
			conn, err := tls.Dial("tcp", addr, k.config)
			if err == nil {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, _ = conn.Write(make([]byte, 10<<10)) // which must not keep the alert from it
				_, err = conn.Read(make([]byte, 1))
			}
			if fmt.Sprint(err) != k.learns {
				t.Errorf("the stranger learns\n\t%v, want\n\t%s", err, k.learns)
			}
			eventually(t, "a word in the log", func() bool { return j.count("did not become a link") == 1 })
			_, said, _ := strings.Cut(j.all()[0], "why=")
			if want := fix(k.dials, said); said != want {
				t.Errorf("the node says\n\t%s, want\n\t%s", said, want)
			}
		})
		if k.listens == "-" {
			continue
		}
		t.Run(k.name+", listens", func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			learnt := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(patience))
					err = tls.Server(conn, k.config).Handshake()
				}
				learnt <- err
			}()
			n := newNode(t, astranet.Config{Credentials: good.creds})
			err = n.Join("tcp", l.Addr().String())
			said := strings.TrimPrefix(errText(err), "join tcp "+l.Addr().String()+": ")
			if want := fix(k.listens, said); said != want {
				t.Errorf("the node says\n\t%s, want\n\t%s", said, want)
			}
			if err := <-learnt; fmt.Sprint(err) != k.learnt {
				t.Errorf("the stranger learns\n\t%v, want\n\t%s", err, k.learnt)
			}
		})
	}
}

// One with credentials and one without: both say which, over every carrier, and soon.
func TestPlainOverEveryCarrier(t *testing.T) {
	t.Parallel()
	good := enrol(t, namedCA(t, "mesh"), "good", 0)
	const (
		plainDials = "the other node refuses the link: it wants TLS and a certificate of its mesh, and what came was neither"
		tlsTaken   = "this node refuses the link: the other end speaks no TLS"
		tlsDials   = "the other node refuses the link: it speaks no TLS: it has no Credentials, and this node has"
		plainTaken = "the other end speaks TLS: it has Credentials, and this node has none"
	)
	for _, by := range carriages {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, who dials is plain: %v", by.name, plain), func(t *testing.T) {
				t.Parallel()
				near, far := virtual(t)
				ct, jt := journaled(astranet.Config{Credentials: good.creds, Networks: []xnet.Networker{near}})
				cp, jp := journaled(astranet.Config{Networks: []xnet.Networker{far}})
				listens, dials, jl, taken, dialled := newNode(t, ct), newNode(t, cp), jt, tlsTaken, plainDials
				if !plain {
					listens, dials, jl, taken, dialled = dials, listens, jp, plainTaken, tlsDials
				}
				begin := time.Now()
				said := by.meet(t, listens, dials)
				if d := time.Since(begin); d > 3*time.Second {
					t.Errorf("it took %v", d)
				}
				switch {
				case said == "": // chance says who counts as the one that has dialled
					if jt.count(tlsTaken) == 1 {
						jp.want(t, "an attached connection has ended why="+plainDials)
					} else {
						jt.want(t, "an attached connection has ended why="+tlsDials)
						jp.want(t, "an attached connection has ended why="+plainTaken)
					}
				case said != dialled:
					t.Errorf("Join says\n\t%s, want\n\t%s", said, dialled)
				default:
					jl.want(t, "why="+taken)
				}
			})
		}
	}
}
