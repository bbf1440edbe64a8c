package ca

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how many bytes a name may have.
const maxName = 512

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// Name returns the identity that a certificate gives a node:
//
//   - its URI name, if it has one, as SPIFFE has it; with two or more it has no identity;
//   - else its DNS name, if it has one; with two or more it has no identity;
//   - else the common name of its subject, if it has exactly one.
//
// Names of other kinds, IP addresses and e-mail addresses, are passed over. The text is the identity, as it is in
// the certificate: names that differ in case are different. It has at most 512 bytes, all of them printable characters, no
// "*", and no space at its ends. A spiffe URI is as the SPIFFE standard says, with a path; another URI has a scheme. DNS
// and common names have neither ":" nor "/", so that they are never mistaken for a URI.
//
// Name does not say whether the certificate can be trusted; [Credentials.Verify] does. The error is an [*Error] with
// ErrName.
func Name(cert *x509.Certificate) (string, error) {
	name, _, err := nameOf(cert)
	if err != "" {
		return "", &Error{Reason: ErrName, Detail: fmt.Sprintf("certificate with serial %s: %s", Serial(cert.SerialNumber), err)}
	}
	return name, nil
}

// A nameKind is where in a certificate a name stands.
type nameKind int

const (
	uriName nameKind = iota
	dnsName
	commonName
)

func (k nameKind) String() string { return [...]string{"URI name", "DNS name", "common name"}[k] }

// nameOf returns the name and its kind, or what is wrong.
func nameOf(cert *x509.Certificate) (name string, kind nameKind, problem string) {
	var found []string
	switch {
	case len(cert.URIs) > 0:
		kind = uriName
		for _, u := range cert.URIs {
			found = append(found, u.String())
		}
	case len(cert.DNSNames) > 0:
		kind, found = dnsName, cert.DNSNames
	default:
		kind = commonName
		for _, attr := range cert.Subject.Names {
			if s, ok := attr.Value.(string); ok && attr.Type.Equal(oidCommonName) {
				found = append(found, s)
			}
		}
	}
	switch {
	case len(found) == 0:
		return "", kind, "it has no name: a node's certificate has a URI name, a DNS name or a common name"
	case len(found) > 1:
		return "", kind, fmt.Sprintf("it has %d %ss (%q, %q, ...), and a node has one name: "+
			"issue it with one, or with one URI name beside them", len(found), kind, clip(found[0]), clip(found[1]))
	}
	if problem := checkName(found[0], kind); problem != "" {
		return "", kind, fmt.Sprintf("its %s %q %s", kind, clip(found[0]), problem)
	}
	return found[0], kind, ""
}

// clip shortens what a stranger may have made long.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// checkName returns what is wrong with a name, "" for nothing.
func checkName(name string, kind nameKind) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("is longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that cannot be printed"
	case strings.Contains(name, "*"):
		return "has a *: a node has a name of its own, no pattern"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a space"
	case kind != uriName && strings.ContainsAny(name, ":/"):
		return "has a \":\" or \"/\", which only a URI name may have"
	case kind != uriName:
		return ""
	}
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Scheme == "" || u.String() != name || strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }):
		return "is no absolute URI"
	case u.Scheme == "spiffe":
		return checkSPIFFE(u, name)
	}
	return ""
}

// checkSPIFFE holds a URI to what the SPIFFE ID standard (section 2) says of a workload's.
func checkSPIFFE(u *url.URL, name string) string {
	switch {
	case u.Opaque != "" || u.User != nil || u.Port() != "" || strings.ContainsAny(name, "?#%"):
		return "is no SPIFFE ID: it has more than a trust domain and a path"
	case !only(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789.-_"):
		return "is no SPIFFE ID: a trust domain has lower-case letters, digits, \".\", \"-\" and \"_\""
	case u.Path == "":
		return "names a trust domain, not a node: spiffe://domain/node does"
	}
	for segment := range strings.SplitSeq(u.Path[1:], "/") {
		if segment == "." || segment == ".." ||
			!only(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") {
			return "is no SPIFFE ID: a part of its path is empty, \".\" or \"..\", or has other than letters, digits, \".\", \"-\" and \"_\""
		}
	}
	return ""
}

// only reports whether s has characters, and only these.
func only(s, chars string) bool { return s != "" && strings.Trim(s, chars) == "" }

// kindFor returns where a name that is to be issued should stand.
func kindFor(name string) nameKind {
	switch {
	case strings.Contains(name, ":"):
		return uriName
	case isDNS(name):
		return dnsName
	}
	return commonName
}

// isDNS reports whether a name has the form of a DNS name, so that every tool takes it for one.
func isDNS(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > 63 || !only(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
