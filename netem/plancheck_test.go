package netem_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
)

// TestPlanErrors has what is wrong on a line, and what is said of it.
func TestPlanErrors(t *testing.T) {
	const (
		allVerbs = "all, link, partition, one-way, isolate, halves, bridge, ring, swizzle, heal, hold, release, cut, mend, " +
			"clear, reset, sever, crash, vanish, start"
		allRules = "latency, correlation, bandwidth, window, loss, retransmit, slice, dial, dial-first, reset-after, " +
			"reset-bytes, close-bytes, close-delay"
	)
	for _, x := range []struct{ line, want string }{
		{"isolate a", "isolate: want a time, for example 1.5s, 20ms, 1m30s"},
		{"10 isolate a", "10: want a time, for example 1.5s, 20ms, 1m30s"},
		{"-1s heal", "-1s: it is negative"},
		{"2000000h heal", "2000000h: it is more than 100 years"},
		{`"1s" heal`, `want a time, not "1s"`},
		{"1s", "want a fault, not the end of the line"},
		{"1s slow a", "slow: no such fault; there are " + allVerbs},
		{"1s heal a", "a: nothing more is wanted here; hosts have commas between them, and a for comes last"},
		{"1s heal for 1s", "for: heal is over at once, and takes none"},
		{"1s reset a -> b for 1s", "for: reset is over at once, and takes none"},
		{"1s isolate", "isolate: want a host, not the end of the line"},
		{"1s isolate a b", "b: nothing more is wanted here; hosts have commas between them, and a for comes last"},
		{"1s isolate a,", "isolate: want a host, not the end of the line"},
		{"1s isolate a,,b", "isolate: want a host, not ,"},
		{"1s isolate for 5s", "isolate: want a host, not for"},
		{"1s isolate a,b,a", "a is there twice"},
		{"1s isolate a/b", `invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`},
		{`1s isolate "a`, `"a # comment: the quoted name has no end, or is not as in Go`},
		{`1s isolate ""`, `invalid name: it is empty`},
		{"1s isolate a loss=1%", "loss=1%: isolate takes no such word"},
		{"1s isolate a for", "want a time after for, not the end of the line"},
		{"1s isolate a for 5", "for 5: want a time, for example 1.5s, 20ms, 1m30s"},
		{"1s isolate a for -5s", "for -5s: it is negative"},
		{"1s isolate a for 0s", "for 0s: want more than no time"},
		{"1s isolate a for 5s for 6s", "for: nothing more is wanted here; hosts have commas between them, and a for comes last"},
		{"1s partition a,b", "partition wants 2 groups or more, with | between them"},
		{"1s partition a,b | ", "partition: want a host, not the end of the line"},
		{"1s halves a", "halves wants 2 hosts or more, with commas between them"},
		{"1s bridge a,b", "bridge wants 3 hosts or more, with commas between them"},
		{"1s ring a,b,c", "ring wants 4 hosts or more, with commas between them"},
		{"1s one-way a,b", "one-way: want -> or more hosts after a comma, not the end of the line"},
		{"1s one-way a <-> b", "one-way wants ->, and not both ways"},
		{"1s swizzle a,b", "pause: swizzle wants one, for example pause=exp(10s)"},
		{"1s swizzle a,b pause=x", "pause=x: want a time, for example 20ms, or a distribution, for example exp(20ms)"},
		{"1s hold a b", "hold: want -> for one way or <-> for both, not b"},
		{"1s hold a ->", "hold: want a host, not the end of the line"},
		{"1s clear a", "clear: want -> for one way or <-> for both, not the end of the line"},
		{"1s link a -> b", "link: want rules, for example latency=20ms, or none, not the end of the line"},
		{"1s link a -> b for 5s", "link: want rules, for example latency=20ms, or none, not for"},
		{"1s all slow", "all: want rules, for example latency=20ms, or none, not slow"},
		{"1s all none loss=1%", "loss: nothing more is wanted here; hosts have commas between them, and a for comes last"},
		{"1s all latncy=5ms", "latncy=5ms: no such rule; there are " + allRules},
		{"1s all pause=5ms", "pause=5ms: no such rule; there are " + allRules},
		{"1s all loss=1% loss=2%", "loss=2%: it is there twice"},
		{"1s all latency=gauss(3ms)", "latency=gauss(3ms): no such distribution; there are constant, uniform, normal, exp, pareto"},
		{"1s all latency=exp(1ms,2ms)", "latency=exp(1ms,2ms): want exp(mean)"},
		{"1s all latency=uniform(1ms, 2ms", "latency=uniform(1ms,2ms: want uniform(least,most)"},
		{"1s all latency=uniform(1ms,2)", "latency=uniform(1ms,2): want uniform(least,most): 2: want a time, for example 1.5s, 20ms, 1m30s"},
		{"1s all latency=uniform(2ms,1ms)", "latency=uniform(2ms,1ms): Uniform(2ms, 1ms): the most is less than the least"},
		{"1s all latency=pareto(2ms,x)", "latency=pareto(2ms,x): want pareto(least,shape): x: want a number, for example 1.5"},
		{"1s all latency=pareto(2ms,0)", "latency=pareto(2ms,0): Pareto(2ms, 0): the shape must be positive"},
		{"1s all latency=-1ms", "latency=-1ms: want a time, for example 20ms, or a distribution, for example exp(20ms)"},
		{"1s all loss=", "loss=: want percent or a fraction, for example 1% or 0.01"},
		{"1s all loss=200%", "loss=200%: Loss is 2, want from 0 to 1"},
		{"1s all correlation=1", "correlation=1: Correlation is 1, want from 0 to below 1"},
		{"1s all bandwidth=1MB", "bandwidth=1MB: want bytes in a second, for example 500B/s, 64KiB/s, 1.5MB/s"},
		{"1s all window=1Mbit", "window=1Mbit: want bytes, for example 500, 64KiB, 1.5MB"},
		{"1s all window=-1", "window=-1: want bytes, for example 500, 64KiB, 1.5MB"},
		{"1s all reset-bytes=1.0000001KB", "reset-bytes=1.0000001KB: want bytes, for example 500, 64KiB, 1.5MB"},
		{"1s all close-bytes=99999999999GiB", "close-bytes=99999999999GiB: want bytes, for example 500, 64KiB, 1.5MB"},
		{"1s all dial=maybe", "dial=maybe: want one of pass, refuse, discard"},
		{"1s all dial-first=-2", "dial-first=-2: want a number, for example 3"},
		{"1s all reset-after=soon", "reset-after=soon: want a time, for example 1.5s, 20ms, 1m30s"},
		{"1s all close-delay=-1s", "close-delay=-1s: it is negative"},
		{"hosts", "want a host, not the end of the line"},
		{"hosts a b", "b: nothing more is wanted here; hosts have commas between them, and a for comes last"},
		{"hosts a,b,a", "a is there twice"},
		{"hosts a,:", `invalid name ":": it contains ':' (none of / \ : [ ] % is allowed)`},
	} {
		_, err := netem.ParsePlan("plan.txt", []byte("\n"+x.line+" # comment\n1m heal\n"))
		if got, want := fmt.Sprint(err), "plan.txt:2: "+x.want; got != want {
			t.Errorf("%s\n got: %s\nwant: %s", x.line, got, want)
		}
	}
}

// Everything that is wrong is told, in the order of the lines, up to ten times.
func TestPlanErrorsTogether(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"1s halves a\n1s all loss=2 window=x\n1s heal\n1s isolate a,b,a,b\nfoo\nhosts a,b,c\n0s isolate d,a,e\n",
			`p:1: halves wants 2 hosts or more, with commas between them
p:2: loss=2: Loss is 2, want from 0 to 1
p:2: window=x: want bytes, for example 500, 64KiB, 1.5MB
p:4: a is there twice
p:4: b is there twice
p:5: foo: want a time, for example 1.5s, 20ms, 1m30s
p:7: d: no such host; the plan's are a,b,c
p:7: e: no such host; the plan's are a,b,c`},
		{strings.Repeat("x\n", 12), strings.Join([]string{"p:1: #", "p:2: #", "p:3: #", "p:4: #", "p:5: #", "p:6: #", "p:7: #", "p:8: #",
			"p:9: #", "p:10: #", "and 2 more"}, "\n")},
	} {
		_, err := netem.ParsePlan("p", []byte(x.text))
		want := strings.ReplaceAll(x.want, "#", "x: want a time, for example 1.5s, 20ms, 1m30s")
		if got := fmt.Sprint(err); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", x.text, got, want)
		}
	}
}

// A plan made in Go is checked as well.
func TestPlanCheck(t *testing.T) {
	at := netem.At(time.Second)
	for _, x := range []struct {
		step netem.Step
		want string
	}{
		{netem.Step{}, "0s: it does nothing: make steps with At"},
		{netem.At(-1).Heal(), "-1ns heal: time: it is negative"},
		{netem.At(math.MaxInt64).Heal(), "2562047h47m16.854775807s heal: time: it is more than 100 years"},
		{at.Heal().For(1), "1s heal for 1ns: for: heal is over at once, and takes none"},
		{at.Isolate("a").For(-1), "1s isolate a for -1ns: for: it is negative"},
		{at.Isolate(), "1s isolate: isolate wants 1 host or more, with commas between them"},
		{at.Isolate("d"), "1s isolate d: d: no such host; the plan's are a,b,c"},
		{at.Partition(), "1s partition: partition wants 2 groups or more, with | between them"},
		{at.Partition([]string{"a"}, nil), "1s partition a |: a group has no host"},
		{at.Hold(netem.Links{From: []string{"a"}}), "1s hold a ->: a group has no host"},
		{at.Clear(netem.Links{To: []string{"a"}}), "1s clear  -> a: a group has no host"},
		{at.All(netem.Rules{Window: -1}), "1s all window=-1: Window is -1, want 0 or more"},
		{at.All(netem.Rules{Dial: 77}), "1s all dial=77: Dial is 77, want one of the DialFaults"},
		{at.Swizzle(netem.Constant(-1), "a"), "1s swizzle a pause=-1ns: pause: Constant(-1ns): negative time"},
	} {
		p := &netem.Plan{Hosts: []string{"a", "b", "c"}, Steps: []netem.Step{netem.At(0).Heal(), x.step}}
		if got, want := fmt.Sprint(p.Check()), "netem: plan: step 2, "+x.want; got != want {
			t.Errorf(" got: %s\nwant: %s", got, want)
		}
		if err := p.Run(t.Context(), netem.New(1), nil); fmt.Sprint(err) != fmt.Sprint(p.Check()) {
			t.Errorf("Run: %v, want %v", err, p.Check())
		}
	}
	if got, want := fmt.Sprint((&netem.Plan{Hosts: []string{"a", "a"}}).Check()), "netem: plan: hosts: a is there twice"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
