package ca_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/astranet/ca"
)

// cn is a subject as package x509 reads it from a certificate.
func cn(names ...string) (subject pkix.Name) {
	for _, n := range names {
		subject.Names = append(subject.Names, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: n})
	}
	return subject
}

func TestName(t *testing.T) {
	uris := func(list ...string) (us []*url.URL) {
		for _, s := range list {
			us = append(us, uri(s))
		}
		return us
	}
	long := strings.Repeat("x", 513)
	const spiffe = "a part of its path is empty, \".\" or \"..\", or has other than letters, digits, \".\", \"-\" and \"_\""
	for _, test := range []struct {
		test string
		cert x509.Certificate
		want string
		err  string
	}{
		{"URI", x509.Certificate{URIs: uris("spiffe://mesh/ns/a_B.c-1"), DNSNames: []string{"b", "c"}, Subject: cn("d")}, "spiffe://mesh/ns/a_B.c-1", ""},
		{"other URI", x509.Certificate{URIs: uris("urn:node:α")}, "", `its URI name "urn:node:α" is no absolute URI`},
		{"URN", x509.Certificate{URIs: uris("urn:node:a")}, "urn:node:a", ""},
		{"DNS", x509.Certificate{DNSNames: []string{"b.example"}, Subject: cn("d", "e")}, "b.example", ""},
		{"case", x509.Certificate{DNSNames: []string{"B"}}, "B", ""},
		{"common name", x509.Certificate{Subject: cn("Knoten α"), EmailAddresses: []string{"a@b"}}, "Knoten α", ""},
		{"two URIs", x509.Certificate{URIs: uris("a:b", "c:d"), DNSNames: []string{"e"}}, "", `it has 2 URI names ("a:b", "c:d", ...), and a node has one name: issue it with one, or with one URI name beside them`},
		{"two common names", x509.Certificate{Subject: cn("a", "b")}, "", `it has 2 common names ("a", "b", ...), and a node has one name: issue it with one, or with one URI name beside them`},
		{"none", x509.Certificate{}, "", `it has no name: a node's certificate has a URI name, a DNS name or a common name`},
		{"empty", x509.Certificate{Subject: cn("")}, "", `its common name "" is empty`},
		{"long", x509.Certificate{Subject: cn(long)}, "", `its common name "` + long[:100] + `..." is longer than 512 bytes`},
		{"wildcard", x509.Certificate{DNSNames: []string{"*.example"}}, "", `its DNS name "*.example" has a *: a node has a name of its own, no pattern`},
		{"bytes", x509.Certificate{Subject: cn("\xff")}, "", `its common name "\xff" is not valid UTF-8`},
		{"escape", x509.Certificate{Subject: cn("a\x1b[2J")}, "", `its common name "a\x1b[2J" has characters that cannot be printed`},
		{"turned around", x509.Certificate{Subject: cn("a\u202eb")}, "", `its common name "a\u202eb" has characters that cannot be printed`},
		{"space", x509.Certificate{Subject: cn(" a")}, "", `its common name " a" begins or ends with a space`},
		{"like a URI", x509.Certificate{Subject: cn("spiffe://mesh/a")}, "", `its common name "spiffe://mesh/a" has a ":" or "/", which only a URI name may have`},
		{"relative", x509.Certificate{URIs: uris("//mesh/a")}, "", `its URI name "//mesh/a" is no absolute URI`},
		{"trust domain", x509.Certificate{URIs: uris("spiffe://mesh")}, "", `its URI name "spiffe://mesh" names a trust domain, not a node: spiffe://domain/node does`},
		{"no path", x509.Certificate{URIs: uris("spiffe://mesh/")}, "", `its URI name "spiffe://mesh/" is no SPIFFE ID: ` + spiffe},
		{"dots", x509.Certificate{URIs: uris("spiffe://mesh/a/../b")}, "", `its URI name "spiffe://mesh/a/../b" is no SPIFFE ID: ` + spiffe},
		{"odd path", x509.Certificate{URIs: uris("spiffe://mesh/a~b")}, "", `its URI name "spiffe://mesh/a~b" is no SPIFFE ID: ` + spiffe},
		{"port", x509.Certificate{URIs: uris("spiffe://mesh:1/a")}, "", `its URI name "spiffe://mesh:1/a" is no SPIFFE ID: it has more than a trust domain and a path`},
		{"query", x509.Certificate{URIs: uris("spiffe://mesh/a?b")}, "", `its URI name "spiffe://mesh/a?b" is no SPIFFE ID: it has more than a trust domain and a path`},
		{"opaque", x509.Certificate{URIs: uris("spiffe:mesh")}, "", `its URI name "spiffe:mesh" is no SPIFFE ID: it has more than a trust domain and a path`},
		{"capitals", x509.Certificate{URIs: uris("spiffe://Mesh/a")}, "", `its URI name "spiffe://Mesh/a" is no SPIFFE ID: a trust domain has lower-case letters, digits, ".", "-" and "_"`},
	} {
		test.cert.SerialNumber = big.NewInt(7)
		got, err := ca.Name(&test.cert)
		want := ""
		if test.err != "" {
			want = "certificate with serial 07: " + test.err
		}
		if got != test.want || (err == nil) != (want == "") || err != nil && (err.Error() != want || !errors.Is(err, ca.ErrName)) {
			t.Errorf("%s: got %q, %v\nwant %q, %v", test.test, got, err, test.want, want)
		}
	}
}

// What is issued under a name has that name, wherever it stands, or is not issued.
func TestIssueNames(t *testing.T) {
	a := authority(t, "mesh")
	n := node(t, a, "n")
	for _, test := range []struct{ name, kind, err string }{
		{"spiffe://mesh/" + strings.Repeat("a", 100), "uri", ""},
		{"urn:a", "uri", ""},
		{"a", "dns", ""},
		{"a.b-c.d1", "dns", ""},
		{strings.Repeat("a.", 100) + "b", "dns", ""},
		{"α", "cn", ""},
		{"a_b", "cn", ""},
		{"-a", "cn", ""},
		{strings.Repeat("a", 64), "cn", ""},
		{strings.Repeat("a", 65), "", `the name "` + strings.Repeat("a", 65) + `" is longer than 64 bytes, which only URI and DNS names may be`},
		{"", "", `the name "" is empty`},
		{"a/b", "", `the name "a/b" has a ":" or "/", which only a URI name may have`},
		{"spiffe://mesh/α", "", `the name "spiffe://mesh/α" is no absolute URI`},
		{"*", "", `the name "*" has a *: a node has a name of its own, no pattern`},
	} {
		i, err := a.Issue(test.name, ca.IssueOptions{})
		if test.err != "" || err != nil {
			if err == nil || err.Error() != test.err {
				t.Errorf("%q: error %v, want %v", test.name, err, test.err)
			}
			continue
		}
		id, err := n.Verify([]*x509.Certificate{i.Cert})
		if err != nil || id.Name != test.name {
			t.Errorf("%q: verified as %q, %v", test.name, id.Name, err)
		}
		kind := "cn"
		if len(i.Cert.URIs) > 0 {
			kind = "uri"
		} else if len(i.Cert.DNSNames) > 0 {
			kind = "dns"
		}
		if kind != test.kind {
			t.Errorf("%q stands in the %s, want %s", test.name, kind, test.kind)
		}
	}
}
