package ca_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/virtnet/virtnet/astranet/ca"
)

func TestInspect(t *testing.T) {
	root, other := authority(t, "mesh"), authority(t, "other")
	sub := must[*ca.Authority](t)(root.Sub("sub", ca.Options{}))
	i, j := issue(t, sub, "a"), issue(t, root, "b")
	expired := must[*ca.Issued](t)(root.Issue("old", ca.IssueOptions{Validity: 1}))
	if err := root.Revoke(j.Cert.SerialNumber); err != nil {
		t.Fatal(err)
	}
	at := root.Revoked()[serial(j)].UTC().Format("2006-01-02 15:04:05 UTC")
	for _, test := range []struct {
		name           string
		data           []byte
		roots, revoked []byte
		want           []string // kind and problem
	}{
		{"node", i.CertPEM, root.RootPEM(), root.RevokedPEM(), []string{"a: <nil>", "sub: <nil>"}},
		{"node with key", concat(j.CertPEM, i.KeyPEM), nil, nil, []string{"b: <nil>", "key: the key is not that of the file's first certificate"}},
		{"revoked", concat(j.CertPEM, j.KeyPEM), root.RootPEM(), root.RevokedPEM(),
			[]string{fmt.Sprintf(`b: certificate of "b" (serial %s) was revoked by "mesh" on %s`, serial(j), at), "key: <nil>"}},
		{"expired", expired.CertPEM, nil, nil, []string{fmt.Sprintf(`old: certificate of "old" (serial %s) expired on %s`, serial(expired), expired.Cert.NotAfter.Format("2006-01-02 15:04:05 UTC"))}},
		{"lists", concat(root.RevokedPEM(), sub.RevokedPEM()), root.RootPEM(), nil, []string{"list: <nil>", `list: the list of "sub" is of no root here`}},
		{"other's", other.RevokedPEM(), nil, nil, []string{"list: <nil>"}},
		{"root", root.RootPEM(), root.RootPEM(), nil, []string{"mesh: <nil>"}},
		{"another authority", other.RootPEM(), root.RootPEM(), nil, []string{fmt.Sprintf(`other: authority "other" (serial %s) is issued by "other", which is not trusted here, `+
			`nor is an authority above it that it has shown: trusted is "mesh"`, ca.Serial(other.Cert().SerialNumber))}},
	} {
		items, err := ca.Inspect(test.data, test.roots, test.revoked)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		var got []string
		for _, item := range items {
			what := "key"
			if item.Cert != nil {
				what = item.Cert.Subject.CommonName
			} else if item.List != nil {
				what = "list"
			}
			got = append(got, fmt.Sprintf("%s: %v", what, item.Problem))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.name, got, test.want)
		}
	}
	if _, err := ca.Inspect(nil, nil, nil); err == nil || err.Error() != "it is empty" {
		t.Errorf("nothing: %v", err)
	}
	if _, err := ca.Inspect(i.CertPEM, i.CertPEM, nil); err == nil || err.Error() != fmt.Sprintf(`roots: the certificate of "a" (serial %s) is no authority's`, serial(i)) {
		t.Errorf("bad roots: %v", err)
	}
}

// What a stranger can make a node do is bounded, and what it is told can be told apart.
func TestLongChain(t *testing.T) {
	a := authority(t, "mesh")
	c := node(t, a, "a")
	chain := c.Self().Chain
	for range 10 {
		chain = append(chain[:len(chain):len(chain)], a.Cert())
	}
	_, err := c.Verify(chain)
	checkError(t, "long chain", err, refusal{ca.ErrInvalid, `certificate of "a" (serial %s) comes with 10 others, at most 9 do`}, ca.Serial(chain[0].SerialNumber))
	_, err = c.Verify(nil)
	checkError(t, "no chain", err, refusal{ca.ErrNoCertificate, "the other end has shown no certificate"})
	plain := errors.New("plain")
	if c.Explain(plain) != plain || c.Explain(nil) != nil || c.Explain(err) != err {
		t.Error("explained what needs none")
	}
	for n, want := range map[int64]string{0: "00", 1: "01", 0x1234: "1234", 0x123: "0123"} {
		if got := ca.Serial(big.NewInt(n)); got != want {
			t.Errorf("serial %s, want %s", got, want)
		}
	}
	if ca.Serial((&x509.Certificate{}).SerialNumber) != "-" {
		t.Error("no serial")
	}
}

// An end that speaks no TLS at all is shown by what it has sent.
func TestPlain(t *testing.T) {
	a := authority(t, "mesh")
	for _, dials := range []bool{true, false} {
		c := node(t, a, "a")
		got := plain(t, c, dials, "HTTP/1.1 400 Bad Request\r\n\r\n")
		checkError(t, fmt.Sprint("dials ", dials), c.Explain(got), refusal{ca.ErrForeign, `the other end does not speak TLS: it has sent "HTTP/"`})
	}
}
