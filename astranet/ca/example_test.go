package ca_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/virtnet/virtnet/astranet/ca"
)

// Two nodes of a mesh know each other by name, until one is revoked.
func Example() {
	mesh, err := ca.Create("mesh", ca.Options{})
	if err != nil {
		panic(err)
	}
	newNode := func(name string) (*ca.Credentials, *ca.Issued) {
		issued, err := mesh.Issue(name, ca.IssueOptions{})
		if err != nil {
			panic(err)
		}
		c, err := ca.New(mesh.Material(issued)) // in programs mostly ca.Files{...}.Open()
		if err != nil {
			panic(err)
		}
		return c, issued
	}
	alice, aliceIssued := newNode("alice")
	bob, bobIssued := newNode("bob")

	near, far := net.Pipe()
	go tls.Client(near, alice.Client()).Handshake()
	conn := tls.Server(far, bob.Server())
	if err := conn.Handshake(); err != nil {
		panic(bob.Explain(err))
	}
	peer, err := bob.Peer(conn.ConnectionState())
	if err != nil {
		panic(err)
	}
	fmt.Println("bob is linked with", peer.Name)

	changed := bob.Changed()
	if err := mesh.Revoke(aliceIssued.Cert.SerialNumber); err != nil {
		panic(err)
	}
	if err := bob.Set(mesh.Material(bobIssued)); err != nil { // files are watched
		panic(err)
	}
	<-changed
	_, err = bob.Verify(peer.Chain)
	fmt.Println("alice is revoked:", errors.Is(err, ca.ErrRevoked))
	// Output:
	// bob is linked with alice
	// alice is revoked: true
}
