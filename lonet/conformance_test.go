package lonet_test

import (
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/virtnettest"
)

func TestConformance(t *testing.T) {
	const backlog = 100 // each dial that waits takes two descriptors of this process
	virtnettest.TestNetwork(t, virtnettest.Network{
		New: func(t testing.TB, n int) []*virtnet.SubNetwork {
			config := lonet.Config{TempDir: t.TempDir(), Backlog: backlog}
			var subs []*virtnet.SubNetwork
			for range n {
				sub, err := config.Join(t.Context(), "test")
				if err != nil {
					t.Fatal(err)
				}
				subs = append(subs, sub)
			}
			return subs
		},
		Backlog: backlog,
	})
}
