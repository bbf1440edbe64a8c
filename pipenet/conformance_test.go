package pipenet_test

import (
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/virtnettest"
)

// Every kind of pipenet is a network.
func TestConformance(t *testing.T) {
	for _, x := range []struct {
		name   string
		config pipenet.Config
	}{
		{"Synchronous", pipenet.Config{}},
		{"Buffered", pipenet.Config{Buffer: -1}},
		{"TinyBuffer", pipenet.Config{Buffer: 1, Backlog: 3}},
	} {
		t.Run(x.name, func(t *testing.T) {
			virtnettest.TestNetwork(t, virtnettest.Network{
				New: func(t testing.TB, n int) []*virtnet.SubNetwork {
					return []*virtnet.SubNetwork{pipenet.AsVirtNet(x.config.New("test"))}
				},
				Bubble:  true,
				Backlog: x.config.Backlog,
				Down:    pipenet.Down,
			})
		})
	}
}

// It is one outside of bubbles, too.
func TestConformanceRealTime(t *testing.T) {
	virtnettest.TestNetwork(t, virtnettest.Network{
		New: func(t testing.TB, n int) []*virtnet.SubNetwork {
			return []*virtnet.SubNetwork{pipenet.AsVirtNet(pipenet.New("test"))}
		},
		Down: pipenet.Down,
	})
}
