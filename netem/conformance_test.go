package netem_test

import (
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/virtnettest"
)

// A network with a Net is a network: without rules, and with some that nobody should notice but by the clock.
func TestConformance(t *testing.T) {
	for _, x := range []struct {
		name   string
		rules  netem.Rules
		buffer int
		bubble bool // the suite looks at what has happened without time passing: not for what takes time
	}{
		{name: "NoRules", bubble: true},
		{name: "NoRulesBuffered", buffer: -1, bubble: true},
		{name: "Queued", rules: netem.Rules{Slice: 1000}, bubble: true},
		{name: "Latency", rules: netem.Rules{Latency: netem.Constant(100 * time.Microsecond)}},
		{name: "Everything", buffer: -1, rules: netem.Rules{
			Latency: netem.Uniform(0, 200*time.Microsecond), Correlation: 0.5, Bandwidth: 100 << 20, Window: 100_000, Slice: 7000,
			Loss: 0.01, Retransmit: 100 * time.Microsecond,
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			virtnettest.TestNetwork(t, virtnettest.Network{
				New: func(t testing.TB, n int) []*virtnet.SubNetwork {
					em := netem.New(1)
					if err := em.SetAll(x.rules); err != nil {
						t.Fatal(err)
					}
					return []*virtnet.SubNetwork{pipenet.AsVirtNet(pipenet.Config{Buffer: x.buffer, Emulator: em}.New("test"))}
				},
				Bubble: x.bubble,
			})
		})
	}
}
