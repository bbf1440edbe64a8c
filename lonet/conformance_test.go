package lonet_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/lonet/internal/registry"
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
		Down:    lonet.Down,
	})
}

func TestRegistryConformance(t *testing.T) {
	hostdata := make(map[virtnet.Registry]string)
	present := func(context.Context, string, string) (registry.Answer, error) { return registry.Present, nil }
	virtnettest.TestRegistry(t, virtnettest.Registries{
		Open: func(t testing.TB, n int) []virtnet.Registry {
			config := registry.Config{TempDir: t.TempDir(), Probe: present}
			var regs []virtnet.Registry
			for i := range n {
				osladdr := fmt.Sprintf("127.0.0.1:%d", 4001+i)
				r, err := config.Open(t.Context(), "test", osladdr)
				if err != nil {
					t.Fatal(err)
				}
				hostdata[r] = osladdr
				regs = append(regs, r)
			}
			return regs
		},
		// A process announces the address at which it accepts.
		Hostdata: func(r virtnet.Registry) string { return hostdata[r] },
	})
}
