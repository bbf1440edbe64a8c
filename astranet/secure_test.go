package astranet_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

func namedCA(t testing.TB, name string) *ca.Authority {
	t.Helper()
	a, err := ca.Create(name, ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// revokedCredentials returns those of a node, and others' who know that they are revoked.
func revokedCredentials(t testing.TB, a *ca.Authority) (revoked, knowing *ca.Credentials) {
	t.Helper()
	i, err := a.Issue("revoked", ca.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if revoked, err = ca.New(a.Material(i)); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(i.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	return revoked, credentials(t, a, "knowing", ca.IssueOptions{})
}

// Links that must not be: both ends say why, and the one that joins does not try again if it is for good.
func TestRefusedIdentities(t *testing.T) {
	t.Parallel()
	mesh, other := namedCA(t, "mesh"), namedCA(t, "other")
	good := func() *ca.Credentials { return credentials(t, mesh, "node", ca.IssueOptions{}) }
	stranger := credentials(t, other, "stranger", ca.IssueOptions{})
	taken := mesh
	revoked, knowing := revokedCredentials(t, mesh)
	for _, x := range []struct {
		name           string
		server, client astranet.Config
		join           string // the error of Join, after the address; a regular expression
		log            string // the server's, likewise
		final          bool
	}{
		{"the client is of another mesh", astranet.Config{Credentials: good()}, astranet.Config{Credentials: stranger},
			`certificate of "node" \(serial \w+\) is issued by "mesh", which is not trusted here, nor is .*`,
			`the other end has refused this node \(tls: bad certificate\)\. .*`, true},
		{"the server is of another mesh", astranet.Config{Credentials: stranger}, astranet.Config{Credentials: good()},
			`certificate of "stranger" \(serial \w+\) is issued by "other", which is not trusted here, nor is .*`,
			`the other end has refused this node \(tls: bad certificate\)\. .*`, true},
		{"the client is revoked", astranet.Config{Credentials: knowing}, astranet.Config{Credentials: revoked},
			`the other end has refused this node \(tls: bad certificate\)\. .*`,
			`certificate of "revoked" \(serial \w+\) was revoked by "mesh" on .*`, true},

		{"plain client, TLS server", astranet.Config{Credentials: good()}, astranet.Config{},
			`the other node refuses the link: it wants TLS and a certificate of its mesh, and what came was neither`,
			`this node refuses the link: the other end speaks no TLS`, true},
		{"TLS client, plain server", astranet.Config{}, astranet.Config{Credentials: good()},
			`the other node refuses the link: it speaks no TLS: it has no Credentials, and this node has`,
			`the other end speaks TLS: it has Credentials, and this node has none`, true},
		{"stolen id", astranet.Config{Credentials: good(), ID: 3}, astranet.Config{Credentials: credentials(t, taken, "thief", ca.IssueOptions{}), ID: 4},
			`the other node refuses the link: the id AAAAAAAAAAQ is known as that of owner \(AAAAAAAAAAQ\)`,
			`this node refuses the link: the id AAAAAAAAAAQ is known as that of owner \(AAAAAAAAAAQ\)`, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			log := new(logText)
			x.server.Logger = slog.New(slog.NewTextHandler(log, nil))
			s, addr := listening(t, x.server)
			if x.name == "stolen id" {
				owner := newNode(t, astranet.Config{Credentials: credentials(t, taken, "owner", ca.IssueOptions{}), ID: 4})
				if err := owner.Join("tcp", addr); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if len(astranet.LinksWith(s, 4)) != 1 {
						t.Error("the owner's link is gone")
					}
				}()
			}
			c := newNode(t, x.client)
			err := c.Join("tcp", addr)
			if want := regexp.MustCompile(`^join tcp 127\.0\.0\.1:\d+: ` + x.join + `$`); !want.MatchString(errText(err)) {
				t.Errorf("Join:\n\t%v, want\n\t%v", err, want)
			}
			said := regexp.MustCompile(`why="?` + x.log)
			eventually(t, "the server's word "+x.log, func() bool { return said.MatchString(strings.ReplaceAll(log.String(), `\"`, `"`)) })
			count := strings.Count(log.String(), "did not become a link")
			time.Sleep(300 * time.Millisecond)
			if n := strings.Count(log.String(), "did not become a link"); x.final && n != count {
				t.Errorf("it was tried again: %d times, then %d", count, n)
			}
		})
	}
}

// Somebody on the way cannot bring two nodes with credentials to talk in the clear, or in an older TLS.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	c := newNode(t, astranet.Config{Credentials: credentials(t, mesh, "c", ca.IssueOptions{})})
	t.Run("the clear", func(t *testing.T) {
		plain := says(t, "astranet\x01\x01\x00\x18\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07\x00\x02\x00\x08\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00")
		want := "join tcp " + plain + ": the other node refuses the link: it speaks no TLS: it has no Credentials, and this node has"
		if err := c.Join("tcp", plain); errText(err) != want {
			t.Errorf("got\n\t%v, want\n\t%s", err, want)
		}
	})
	t.Run("TLS 1.2 server", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg := credentials(t, mesh, "s", ca.IssueOptions{}).Server()
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_ = tls.Server(conn, cfg).Handshake()
				}()
			}
		}()
		if err := c.Join("tcp", l.Addr().String()); err == nil || len(c.Routes()) != 0 {
			t.Errorf("got %v, routes %v", err, c.Routes())
		}
	})
	t.Run("TLS 1.2 client", func(t *testing.T) {
		s, addr := listening(t, astranet.Config{Credentials: credentials(t, mesh, "s", ca.IssueOptions{})})
		cfg := credentials(t, mesh, "c", ca.IssueOptions{}).Client()
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := tls.Client(conn, cfg).Handshake(); err == nil || len(s.Routes()) != 0 {
			t.Errorf("got %v, routes %v", err, s.Routes())
		}
	})
}

// A peer that stalls within TLS.
func TestStallsInTLS(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	cfg := astranet.Config{Credentials: credentials(t, mesh, "n", ca.IssueOptions{}), HandshakeTimeout: 200 * time.Millisecond}
	c := newNode(t, cfg)
	silent := says(t, "")
	want := "join tcp " + silent + ": the other end has not sent its part of TLS's handshake within 200ms: context deadline exceeded"
	if err := c.Join("tcp", silent); errText(err) != want || !isTimeout(err) {
		t.Errorf("got\n\t%v, want\n\t%s, a time-out", err, want)
	}
	log := new(logText)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	_, addr := listening(t, cfg)
	for says, want := range map[string]string{
		"":                 "the other end has not sent anything within 200ms",
		"\x16\x03\x01\x02": "the other end has not sent its part of TLS's handshake within 200ms",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, says)
		_, _ = io.ReadAll(conn)
		eventually(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
}

// A node whose certificate is revoked while it is linked loses the link, and both ends know why.
func TestRevokedWhileLinked(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	issued, err := mesh.Issue("s", ca.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	material := mesh.Material(issued)
	creds, err := ca.New(material)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := mesh.Issue("bad", ca.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	badCreds, err := ca.New(mesh.Material(bad))
	if err != nil {
		t.Fatal(err)
	}
	slog1, slog2 := new(logText), new(logText)
	s, addr := listening(t, astranet.Config{Credentials: creds, Logger: slog.New(slog.NewTextHandler(slog1, nil))})
	bindEcho(t, s)
	good := newNode(t, astranet.Config{Credentials: credentials(t, mesh, "good", ca.IssueOptions{})})
	c := newNode(t, astranet.Config{Credentials: badCreds, Logger: slog.New(slog.NewTextHandler(slog2, nil))})
	for _, n := range []astranet.AstraNet{good, c} {
		if err := n.Join("tcp", addr); err != nil {
			t.Fatal(err)
		}
		wantEcho(t, n)
	}
	if err := mesh.Revoke(bad.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	material.Revoked = mesh.RevokedPEM()
	if err := creds.Set(material); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link's end", func() bool { return len(s.Routes()) == 1 && len(c.Routes()) == 0 })
	eventually(t, "the client's word", func() bool {
		return strings.Contains(slog2.String(), "the other node has ended the link: certificate: ")
	})
	eventually(t, "the server's word", func() bool {
		return strings.Contains(slog1.String(), "a link is ended, since its other end is not to be believed any more")
	})
	wantEcho(t, good)
}
