package astranet_test

import (
	"testing"

	"github.com/virtnet/virtnet/astranet/ca"
)

// authority makes an authority for a test's mesh.
func authority(t testing.TB) *ca.Authority {
	t.Helper()
	a, err := ca.Create("test mesh", ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// material makes what the node of that name has.
func material(t testing.TB, a *ca.Authority, name string) ca.Material {
	t.Helper()
	i, err := a.Issue(name, ca.IssueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca.Material{Cert: i.CertPEM, Key: i.KeyPEM, Roots: a.RootPEM()}
}
