package ca_test

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"net"
	"testing"
)

// What it costs to judge a certificate, without and with a long list of what is revoked.
func BenchmarkVerify(b *testing.B) {
	for _, revoked := range []int64{0, 10_000} {
		b.Run(fmt.Sprint("revoked=", revoked), func(b *testing.B) {
			a := authority(b, "mesh")
			var serials []*big.Int
			for n := range revoked {
				serials = append(serials, big.NewInt(n+1))
			}
			if err := a.Revoke(serials...); err != nil {
				b.Fatal(err)
			}
			c, chain := node(b, a, "a"), certs(issue(b, a, "b"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Verify(chain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A handshake of two nodes, both ends.
func BenchmarkHandshake(b *testing.B) {
	a := authority(b, "mesh")
	client, server := node(b, a, "a").Client(), node(b, a, "b").Server()
	b.ReportAllocs()
	for b.Loop() {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(far, server).Handshake() }()
		if err := tls.Client(near, client).Handshake(); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		near.Close()
		far.Close()
	}
}
