package netem_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// The same plan in Go, and as a file.
func ExamplePlan() {
	plan := &netem.Plan{
		Hosts: []string{"a", "b", "c", "α"},
		Steps: []netem.Step{
			netem.At(0).All(netem.Rules{Latency: netem.Exponential(5 * time.Millisecond), Loss: 0.01}),
			netem.At(10*time.Second).Link(netem.Between("α", "b"), netem.Rules{Bandwidth: 1e6}).For(time.Minute),
			netem.At(30*time.Second).Partition([]string{"a", "b"}, []string{"c", "α"}).For(20 * time.Second),
			netem.At(45 * time.Second).Crash("b").For(10 * time.Second),
		},
	}
	fmt.Print(plan)

	file, err := netem.ParsePlan("plan.txt", []byte(`
# times are from the start of the plan
hosts a, b, c, α
0s    all       latency=exp(5ms) loss=1%
10s   link      α <-> b   bandwidth=1MB/s   for 1m
30s   partition a,b | c,α                   for 20s
45s   crash     b                           for 10s   # and then b starts again
`))
	fmt.Println(file.String() == plan.String(), err)
	// Output:
	// hosts a,b,c,α
	// 0s   all                   latency=exp(5ms) loss=1%
	// 10s  link       α <-> b    bandwidth=1MB/s for 1m
	// 30s  partition  a,b | c,α  for 20s
	// 45s  crash      b          for 10s
	// true <nil>
}

// What is wrong is told with the line.
func ExampleParsePlan() {
	_, err := netem.ParsePlan("plan.txt", []byte(`hosts a,b
0s   all      latency=gauss(3ms)
10s  isolate  c  for 5s
`))
	fmt.Println(err)
	// Output:
	// plan.txt:2: latency=gauss(3ms): no such distribution; there are constant, uniform, normal, exp, pareto
	// plan.txt:3: c: no such host; the plan's are a,b
}

// A minute of faults from a seed. A test that fails prints the seed, and what happened when.
func ExampleRandomPlan() {
	// func TestFaults(t *testing.T)
	var t *testing.T
	const seed = 1
	synctest.Test(t, func(t *testing.T) {
		em := netem.New(seed)
		net := pipenet.Config{Emulator: em, Buffer: -1}.New("t")
		defer net.Close()
		hosts := []string{"a", "b", "c"}
		start := func(ctx context.Context, name string) error {
			net.Host(name) // and the server on it
			return nil
		}
		for _, name := range hosts {
			_ = start(t.Context(), name)
		}

		plan := netem.RandomPlan(seed, hosts, time.Minute, netem.FaultAll)
		err := plan.Run(t.Context(), em, &netem.RunConfig{
			Host:  pipenet.AsVirtNet(net).Host,
			Start: start,
			Trace: func(at time.Duration, what string) { t.Logf("seed %d: %v %s", seed, at, what) },
		})
		if err != nil {
			t.Error(err)
		}
		// What must be true of the servers now?
	})
}

// A plan runs in virtual time, beside the program.
func ExamplePlan_Run() {
	em := netem.New(1)
	plan := &netem.Plan{Steps: []netem.Step{netem.At(time.Millisecond).Isolate("a").For(2 * time.Millisecond)}}
	err := plan.Run(context.Background(), em, &netem.RunConfig{
		Trace: func(at time.Duration, what string) { fmt.Printf("%v: %s\n", at, what) },
	})
	fmt.Println(err)
	// Output:
	// 1ms: isolate a for 2ms
	// 3ms: end of isolate a for 2ms
	// <nil>
}
