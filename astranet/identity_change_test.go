package astranet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// mesh2 are two nodes in a bubble, of which c keeps a link with s.
type mesh2 struct {
	*two
	js, jc *journal
}

// joined links two nodes over a network in a bubble. Their ids are 1 and 2.
func joined(t *testing.T, s, c member, f func(w *mesh2)) {
	cs, js := journaled(astranet.Config{ID: 1, Credentials: s.creds})
	cc, jc := journaled(astranet.Config{ID: 2, Credentials: c.creds})
	net := pipenet.Config{Buffer: -1}.New("t")
	defer net.Close()
	cs.Networks, cc.Networks = []xnet.Networker{net.Host("s")}, []xnet.Networker{net.Host("c")}
	w := &mesh2{&two{T: t, s: cs.New(), c: cc.New()}, js, jc}
	defer w.s.Close()
	defer w.c.Close()
	if err := w.s.ListenAndServe("pipet", ":1"); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Join("pipet", "s:1"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	f(w)
}

// renew gives a member a new certificate of the same name.
func (m *member) renew(t testing.TB, a *ca.Authority, validity time.Duration) {
	t.Helper()
	i, err := a.Issue(m.creds.Self().Name, ca.IssueOptions{Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	m.Issued, m.material.Cert, m.material.Key = i, i.CertPEM, i.KeyPEM
	m.use(t)
}

// use has the member's node use what its material is.
func (m *member) use(t testing.TB) {
	t.Helper()
	if err := m.creds.Set(m.material); err != nil {
		t.Fatal(err)
	}
}

// stillCarries checks that a connection still carries bytes, both ways.
func stillCarries(t testing.TB, c, s net.Conn) {
	t.Helper()
	for range 2 {
		go func() { _, _ = io.WriteString(c, "still there") }()
		wantRead(t, s, "still there")
		c, s = s, c
	}
}

// A link ends in the moment in which the certificate of one of its ends expires, and then its streams, for that reason. A node whose
// certificate was replaced in time is linked again at once, and its streams go on.
func TestExpiresWhileLinked(t *testing.T) {
	t.Parallel()
	for _, renewed := range []bool{false, true} {
		for _, whose := range []string{"listener's", "dialler's"} {
			t.Run(fmt.Sprintf("the %s, renewed: %v", whose, renewed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					mesh := namedCA(t, "mesh")
					validity := map[string]time.Duration{whose: time.Hour}
					s, c := enrol(t, mesh, "s", validity["listener's"]), enrol(t, mesh, "c", validity["dialler's"])
					born := time.Now()
					joined(t, s, c, func(w *mesh2) {
						client, server := w.pair()
						reads := []*call[int]{
							begin(func() (int, error) { return client.Read(make([]byte, 1)) }),
							begin(func() (int, error) { return server.Read(make([]byte, 1)) }),
						}
						old := &c
						if whose == "listener's" {
							old = &s
						}
						was := old.Issued
						if renewed {
							time.Sleep(30 * time.Minute)
							old.renew(t, mesh, 0)
						}
						time.Sleep(time.Until(born.Add(time.Hour)))
						synctest.Wait()
						if len(w.s.Routes())+len(w.c.Routes()) != 2 {
							t.Error("the link has ended early")
						}
						time.Sleep(time.Second)
						if renewed {
							if n := len(w.s.Routes()) + len(w.c.Routes()); n != 2 {
								t.Errorf("there is no link again: %d", n)
							}
							for _, r := range reads {
								r.blocked(t)
							}
							time.Sleep(24 * time.Hour)
							_, _ = client.Write([]byte("x"))
							_, _ = server.Write([]byte("x"))
							for _, r := range reads {
								if n, err := r.result(t); n != 1 || err != nil {
									t.Errorf("got %d, %v", n, err)
								}
							}
							stillCarries(t, client, server)
							return
						}
						if n := len(w.s.Routes()) + len(w.c.Routes()); n != 0 {
							t.Errorf("they are still linked: %d", n)
						}
						why := fmt.Sprintf(`certificate: certificate of %q (serial %s) expired on %s`, old.creds.Self().Name, ca.Serial(was.Cert.SerialNumber), stamp(born.Add(time.Hour)))
						for i, r := range reads {
							_, err := r.result(t)
							who := "this node"
							if mine := i == 0 == (whose == "dialler's"); mine {
								who = "the other node"
							}
							wantCause(t, err, "read", fmt.Sprintf("node %s: permission denied: %s has ended the link: %s",
								[]string{"s (AAAAAAAAAAE)", "c (AAAAAAAAAAI)"}[i], who, why))
						}
						if d := time.Since(born.Add(time.Hour)); d > 5*time.Second {
							t.Errorf("the streams end after %v", d)
						}
						// It is asked again, but seldom.
						time.Sleep(10 * time.Minute)
						if n := w.js.count("did not become a link"); n < 60 || n > 250 {
							t.Errorf("asked %d times in 10 minutes", n)
						}
						old.renew(t, mesh, 0)
						time.Sleep(11 * time.Second)
						if n := len(w.s.Routes()) + len(w.c.Routes()); n != 2 {
							t.Errorf("with a new certificate: %d", n)
						}
					})
				})
			})
		}
	}
}

// The authority is replaced while streams run, as docs/astranet.md says: they go on, links stay as they are, and new ones use
// what there is then.
func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := namedCA(t, "first"), namedCA(t, "second")
		s, c := enrol(t, first, "s", 0), enrol(t, first, "c", 0)
		joined(t, s, c, func(w *mesh2) {
			client, server := w.pair()
			shown := func() [2]string { return [2]string{astranet.ShownBy(w.c, 1), astranet.ShownBy(w.s, 2)} }
			before := shown()
			if want := [2]string{s.serial(), c.serial()}; before != want {
				t.Errorf("certificates %v, want %v", before, want)
			}
			both := bytes.Join([][]byte{first.RootPEM(), second.RootPEM()}, nil)
			lists := bytes.Join([][]byte{first.RevokedPEM(), second.RevokedPEM()}, nil)
			step := func(what string, change func(m *member)) {
				for _, m := range []*member{&s, &c} {
					change(m)
					time.Sleep(time.Minute)
					stillCarries(t, client, server)
					if got := len(w.s.Routes()) + len(w.c.Routes()); got != 2 {
						t.Errorf("%s: %d", what, got)
					}
				}
			}
			step("both roots", func(m *member) { m.material.Roots, m.material.Revoked = both, lists; m.use(t) })
			step("new certificates", func(m *member) { m.renew(t, second, 0) })
			if got := shown(); got != before {
				t.Errorf("links with %v, want the old ones with %v", got, before)
			}
			// The links are those of old certificates, which nobody believes now: there are others at once.
			step("the new root", func(m *member) {
				m.material.Roots, m.material.Revoked = second.RootPEM(), second.RevokedPEM()
				m.use(t)
			})
			if got, want := shown(), [2]string{s.serial(), c.serial()}; got != want {
				t.Errorf("links with %v, want new ones with %v", got, want)
			}
			stillCarries(t, client, server)
		})
	})
}

// A node that is revoked while it is linked loses link and streams within seconds of the list's change, with an error that
// says so at both ends. Others are as they were.
func TestRevokedByFile(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	dir := t.TempDir()
	if err := mesh.Save(filepath.Join(dir, "ca")); err != nil {
		t.Fatal(err)
	}
	s, bad, good := enrol(t, mesh, "s", 0), enrol(t, mesh, "bad", 0), enrol(t, mesh, "good", 0)
	f := ca.Files{Cert: filepath.Join(dir, "cert"), Roots: ca.RootsPath(filepath.Join(dir, "ca")), Revoked: ca.RevokedPath(filepath.Join(dir, "ca"))}
	if err := os.WriteFile(f.Cert, append(s.CertPEM, s.KeyPEM...), 0o600); err != nil {
		t.Fatal(err)
	}
	watched, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Close()
	cs, js := journaled(astranet.Config{Credentials: watched, ID: 1})
	cb, jb := journaled(astranet.Config{Credentials: bad.creds, ID: 2})
	server, addr := listening(t, cs)
	b, g := newNode(t, cb), newNode(t, astranet.Config{Credentials: good.creds})
	l, err := server.Bind("", "svc")
	if err != nil {
		t.Fatal(err)
	}
	var ends [2][2]net.Conn // of bad and good, client and server
	for i, n := range []astranet.AstraNet{b, g} {
		if err := n.Join("tcp", addr); err != nil {
			t.Fatal(err)
		}
		accepted := begin(l.Accept)
		if ends[i][0], err = n.DialTimeout("", "svc", patience); err != nil {
			t.Fatal(err)
		}
		if ends[i][1], err = accepted.result(t); err != nil {
			t.Fatal(err)
		}
	}
	if err := mesh.Revoke(bad.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	why := fmt.Sprintf(`has ended the link: certificate: certificate of "bad" (serial %s) was revoked by "mesh" on %s`, bad.serial(), stamp(mesh.Revoked()[bad.serial()]))
	var both sync.WaitGroup
	for i, want := range []string{"node s (AAAAAAAAAAE): permission denied: the other node " + why, "node bad (AAAAAAAAAAI): permission denied: this node " + why} {
		both.Go(func() {
			_, err := ends[0][i].Read(make([]byte, 1))
			wantCause(t, err, "read", want)
			if d := time.Since(began); d > 8*time.Second {
				t.Errorf("the stream ends after %v", d)
			}
			_, err = ends[0][i].Write([]byte("x"))
			wantCause(t, err, "write", want)
		})
	}
	both.Wait()
	js.want(t, "no longer linked with=bad (AAAAAAAAAAI) why=this node "+why)
	jb.want(t, "no longer linked with=s (AAAAAAAAAAE) why=the other node "+why)
	stillCarries(t, ends[1][0], ends[1][1])
	if n := js.count("did not become a link"); n > 2 {
		t.Errorf("it has asked %d times since", n)
	}
	if n := astranet.Peers(server); n != 1 {
		t.Errorf("the node keeps %d others in mind, want 1", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.DialContext(ctx, "", "svc"); err == nil {
		t.Error("it can still dial")
	}
}

// renewer is a network whose second dial is refused for good, while the node gets another certificate.
type renewer struct {
	dials chan time.Time
	renew func()
}

func (renewer) Network() string { return "renewer" }
func (renewer) Name() string    { return "" }

func (r renewer) Dial(context.Context, string) (net.Conn, error) {
	r.dials <- time.Now()
	if len(r.dials) != 2 {
		return nil, errors.New("not now")
	}
	r.renew()
	return nil, astranet.ErrDenied
}

func (renewer) Close() error { return nil }

func (renewer) Listen(context.Context, string) (xnet.Listener, error) {
	return nil, errors.ErrUnsupported
}

// Who is refused for good tries again at once if its certificate has been replaced meanwhile.
func TestRenewedWhileRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := authority(t)
		m := enrol(t, a, "c", 0)
		r := renewer{make(chan time.Time, 100), func() { m.renew(t, a, 0) }}
		n := newNode(t, astranet.Config{Credentials: m.creds, Networks: []xnet.Networker{r}})
		if err := n.Join("renewer", "x"); err == nil {
			t.Error("joined")
		}
		time.Sleep(20 * time.Second)
		<-r.dials
		if second, third := <-r.dials, <-r.dials; third.Sub(second) > time.Second {
			t.Errorf("the next dial was %v after the one that was refused", third.Sub(second))
		}
		n.Close()
	})
}
