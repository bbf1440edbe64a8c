package netem

import (
	"math"
	"strings"
	"testing"
	"time"
)

// Each distribution has the mean and the deviation that its name promises, and no negative times.
func TestDelayDistributions(t *testing.T) {
	const ms = time.Millisecond
	for _, x := range []struct {
		d               Delay
		mean, deviation time.Duration
	}{
		{Delay{}, 0, 0},
		{Constant(7 * ms), 7 * ms, 0},
		{Uniform(2*ms, 8*ms), 5 * ms, time.Duration(6 / math.Sqrt(12) * float64(ms))},
		{Normal(50*ms, 5*ms), 50 * ms, 5 * ms},
		{Exponential(5 * ms), 5 * ms, 5 * ms},
		{Pareto(10*ms, 4), 40 * ms / 3, time.Duration(10 * math.Sqrt(4./2) / 3 * float64(ms))},
	} {
		t.Run(x.d.String(), func(t *testing.T) {
			s := newStream(1, "α", "β")
			const n = 200_000
			var sum, squares float64
			for i := range uint64(n) {
				at := x.d.at(s.uniform(i))
				if at < 0 {
					t.Fatalf("time %v", at)
				}
				sum += float64(at)
				squares += float64(at) * float64(at)
			}
			mean := sum / n
			deviation := math.Sqrt(max(squares/n-mean*mean, 0))
			if math.Abs(mean-float64(x.mean)) > 0.01*float64(x.mean) {
				t.Errorf("mean %v, want %v", time.Duration(mean), x.mean)
			}
			if math.Abs(deviation-float64(x.deviation)) > 0.05*float64(x.deviation)+1000 {
				t.Errorf("deviation %v, want %v", time.Duration(deviation), x.deviation)
			}
		})
	}
}

// Correlation makes neighbours alike and leaves the distribution as it is.
func TestCorrelation(t *testing.T) {
	for _, rho := range []float64{0, 0.3, 0.9} {
		s := newStream(7, "α", "β")
		f := &flow{}
		const n = 100_000
		var sum, squares, products, last float64
		for i := range uint64(n) {
			f.index = i
			u := f.draw(s.uniform(i), rho)
			sum += u
			squares += u * u
			if i > 0 {
				products += u * last
			}
			last = u
		}
		mean := sum / n
		variance := squares/n - mean*mean
		if math.Abs(mean-0.5) > 0.02 || math.Abs(variance-1./12) > 0.003 {
			t.Errorf("correlation %v: mean %.3f, variance %.4f, want 0.5 and %.4f", rho, mean, variance, 1./12)
		}
		// Of uniform values with a Gaussian correlation rho it is 6/π asin(rho/2).
		want := 6 / math.Pi * math.Asin(rho/2)
		if got := (products/n - mean*mean) / variance; math.Abs(got-want) > 0.03 {
			t.Errorf("correlation %v: neighbours have %.3f, want %.3f", rho, got, want)
		}
	}
}

// The extremes of chance give times that can be waited for.
func TestDelayExtremes(t *testing.T) {
	for _, d := range []Delay{Constant(0), Uniform(0, time.Hour), Normal(time.Hour, 10*time.Hour), Exponential(time.Hour), Pareto(time.Hour, 0.01)} {
		for _, u := range []float64{math.SmallestNonzeroFloat64, 1e-17, 0.5, 1 - 1e-16} {
			if at := d.at(u); at < 0 || at > maxDelay {
				t.Errorf("%v at %v: %v", d, u, at)
			}
		}
	}
	if got := Constant(48 * time.Hour).at(0.5); got != 48*time.Hour {
		t.Errorf("Constant(48h) gives %v", got)
	}
}

// Streams of different links, connections and directions have nothing to do with each other.
func TestStreams(t *testing.T) {
	seen := make(map[uint64]string)
	for _, x := range []struct {
		name     string
		seed     uint64
		from, to string
	}{
		{"seed 1", 1, "α", "β"}, {"seed 2", 2, "α", "β"}, {"back", 1, "β", "α"},
		{"cut elsewhere", 1, "ab", "c"}, {"cut elsewhere 2", 1, "a", "bc"}, {"empty", 1, "", ""},
	} {
		s := newStream(x.seed, x.from, x.to)
		for i := range uint64(1000) {
			for _, v := range []uint64{uint64(s.sub(i)), uint64(s.sub(i).sub(forLoss)), uint64(s.sub(i).sub(forLatency))} {
				if old := seen[v]; old != "" {
					t.Fatalf("%s and %s have a number in common", x.name, old)
				}
				seen[v] = x.name
			}
		}
	}
	s := newStream(3, "α", "β")
	for i := range uint64(100_000) {
		if u := s.uniform(i); u <= 0 || u >= 1 {
			t.Fatalf("number %d is %v", i, u)
		}
	}
}

func TestRulesCheck(t *testing.T) {
	for _, x := range []struct {
		rules Rules
		want  string // in the error; empty is none
	}{
		{Rules{}, ""},
		{Rules{Latency: Uniform(1, 2), Correlation: 0.99, Loss: 1, Bandwidth: 1, Window: 1, Slice: 1, Dial: DialDiscard}, ""},
		{Rules{Latency: Constant(-1)}, "Latency: Constant(-1ns): negative time"},
		{Rules{Latency: Uniform(2, 1)}, "the most is less than the least"},
		{Rules{Latency: Normal(2, -1)}, "negative deviation"},
		{Rules{Latency: Pareto(2, 0)}, "the shape must be positive"},
		{Rules{Latency: Pareto(2, math.NaN())}, "the shape must be positive"},
		{Rules{Correlation: 1}, "Correlation is 1, want from 0 to below 1"},
		{Rules{Loss: 1.1}, "Loss is 1.1, want from 0 to 1"},
		{Rules{Loss: math.NaN()}, "Loss is NaN"},
		{Rules{Bandwidth: -1}, "Bandwidth is -1"},
		{Rules{Window: -1}, "Window is -1"},
		{Rules{Slice: -1}, "Slice is -1"},
		{Rules{Retransmit: -1}, "Retransmit is -1ns"},
		{Rules{Dial: 3}, "Dial is 3"},
		{Rules{DialFirst: -1}, "DialFirst is -1"},
		{Rules{ResetAfter: -1}, "ResetAfter is -1ns"},
		{Rules{ResetBytes: -1}, "ResetBytes is -1"},
		{Rules{CloseBytes: -1}, "CloseBytes is -1"},
		{Rules{CloseDelay: -1}, "CloseDelay is -1ns"},
	} {
		err := x.rules.Check()
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", x.rules, err, x.want)
		}
		em := New(1)
		if set, all := em.Link("α", "β").Set(x.rules), em.SetAll(x.rules); (set == nil) != (err == nil) || (all == nil) != (err == nil) {
			t.Errorf("%+v: Set says %v and SetAll %v", x.rules, set, all)
		}
	}
}
