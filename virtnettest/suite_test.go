package virtnettest_test

import (
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/virtnettest"
)

// The suites pass on a network that has no fault, in bubbles and outside.
func TestMemnet(t *testing.T) {
	virtnettest.TestNetwork(t, memNetwork(fault{}, false))
}

func TestMemnetBubble(t *testing.T) {
	virtnettest.TestNetwork(t, memNetwork(fault{}, true))
}

func TestMemRegistry(t *testing.T) {
	virtnettest.TestRegistry(t, virtnettest.Registries{Open: func(t testing.TB, n int) []virtnet.Registry {
		m := &memnet{hosts: make(map[string]memhost)}
		var regs []virtnet.Registry
		for i := range n {
			regs = append(regs, withdrawer{&memregistry{net: m, owner: string(rune('0' + i))}})
		}
		return regs
	}})
}
