package pipenet

import (
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/virtnettest"
)

func TestRegistry(t *testing.T) {
	virtnettest.TestRegistry(t, virtnettest.Registries{Open: func(t testing.TB, n int) []virtnet.Registry {
		return []virtnet.Registry{newRegistry("ram(test)")}
	}})
}
