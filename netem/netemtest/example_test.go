package netemtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
	"github.com/virtnet/virtnet/pipenet"
)

// Fifty seeds, each of which loses and delays other things.
func ExampleRun() {
	// func TestElection(t *testing.T)
	var t *testing.T
	netemtest.Run(t, 50, func(t *testing.T, em *netem.Net) {
		_ = em.SetAll(netem.Rules{Latency: netem.Exponential(20 * time.Millisecond), Loss: 0.02})
		n := pipenet.Config{Emulator: em, Buffer: -1}.New("t")
		defer n.Close()

		// Start the program on n.Host("α"), n.Host("β"), ...

		if err := em.Swizzle(t.Context(), netem.Uniform(time.Second, time.Minute), "α", "β", "γ"); err != nil {
			t.Error(err)
		}
	})
}

// A network of the operating system's needs real time; the seeds run beside each other.
func ExampleConfig() {
	// func TestElection(t *testing.T)
	var t *testing.T
	netemtest.Config{Parallel: true, RealTime: true}.Run(t, 10, func(t *testing.T, em *netem.Net) {
		n, err := lonet.Config{Emulator: em}.Join(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
	})
}
