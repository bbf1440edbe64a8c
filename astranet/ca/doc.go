// Package ca says who the nodes of a mesh are. It has two halves: an [Authority], which issues certificates and revokes
// them, and [Credentials], with which a node shows its own and judges those of others.
//
// A node's identity is the name in its certificate ([Name]), which chains to an authority that the mesh trusts. Nodes
// authenticate each other by mutual TLS 1.3; host names and addresses play no part in it. The forms are the usual ones
// (X.509, PEM, the lists of RFC 5280), so the certificates of another CA do as well, and SPIFFE's.
//
// Credentials come from memory ([New]) or from files that may be replaced at any time ([Files]). Every handshake and
// every [Credentials.Verify] uses what is there now. What has been verified before is not taken back by itself: a
// node waits for [Credentials.Changed], and for [Identity.Expires], and then asks Verify again about those it is
// linked with.
//
// With TLS 1.3 the end that dials has done its part of the handshake before the other has seen its certificate:
// that it is refused shows in its first Read. A node therefore counts a link as up only when it has read something
// from it. [Credentials.Explain] says in words what an error of a handshake, or of that Read, means.
//
// Everything here is safe for concurrent use, and needs only the standard library. Time is that of package time.
package ca
