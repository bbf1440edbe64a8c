package astranet_test

import (
	"net"
	"testing"

	"github.com/virtnet/virtnet/astranet"
)

// A neighbour has 8 links with a node at most: what it attaches beyond that is refused. Of many at once the two may admit
// different ones, so that there are fewer.
func TestManyStandbys(t *testing.T) {
	a, b := newNode(t, astranet.Config{}), newNode(t, astranet.Config{})
	ended := make(chan struct{}, 20)
	for range 20 {
		x, y := net.Pipe()
		go func() { a.Attach(x); ended <- struct{}{} }()
		go b.Attach(y)
	}
	for range 12 {
		<-ended
	}
	eventually(t, "the same links at both ends, 8 at most", func() bool {
		k, m := len(astranet.LinksWith(a, b.ID())), len(astranet.LinksWith(b, a.ID()))
		return k == m && 0 < k && k <= 8
	})
}
