package main

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/virtnet/virtnet/bench/internal/cases"
	"github.com/virtnet/virtnet/bench/internal/peer"
)

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		name string
		v    []float64
		want spread
	}{
		{"one", []float64{3}, spread{3, 3, 3, 1}},
		{"even", []float64{4, 1, 3, 2}, spread{2.5, 1, 4, 4}},
		{"odd", []float64{9, 1, 5}, spread{5, 1, 9, 3}},
	} {
		if got := newSpread(test.v); *got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, *got, test.want)
		}
	}
	if got := newSpread(nil); got != nil {
		t.Errorf("of nothing: %+v, want nil", got)
	}
}

func TestFigure(t *testing.T) {
	for _, test := range []struct {
		v    float64
		want string
	}{
		{0, "0.00"}, {0.00071, "0.00071"}, {0.0049, "0.0049"}, {0.126, "0.13"}, {0.996, "1.00"}, {1.254, "1.25"}, {12.34, "12.3"},
		{99.96, "100"}, {123.4, "123"}, {4438, "4440"}, {163817, "164000"}, {-2.5, "-2.50"}, {math.NaN(), "NaN"},
	} {
		if got := figure(test.v); got != test.want {
			t.Errorf("figure(%v) = %s, want %s", test.v, got, test.want)
		}
	}
}

// testPlan has three runs of a case with a baseline, and of one without.
func testPlan() (plan, []measurement) {
	p := plan{
		peers: []peer.Peer{{Name: "tcp"}, {Name: "mux"}, {Name: "smux"}},
		cases: []cases.Case{
			{Name: "fast", Metrics: []cases.Metric{
				{Key: "rate", Unit: "MB/s", Kind: cases.Main, Base: "tcp", Target: "1.0"},
				{Key: "cpu", Unit: "ms", Kind: cases.CPU},
			}},
			{Name: "mem", Without: []string{"tcp"}, Metrics: []cases.Metric{
				{Key: "bytes", Unit: "B", Kind: cases.Main, Target: "<350"},
			}},
		},
		runs: 3,
	}
	rate := func(v float64) cases.Result { return cases.Result{Values: cases.Values{"rate": v, "cpu": 1}} }
	bytes := func(v float64) cases.Result { return cases.Result{Values: cases.Values{"bytes": v}} }
	return p, []measurement{
		{turn{1, "fast", "tcp"}, rate(100)}, {turn{1, "fast", "mux"}, rate(90)}, {turn{1, "fast", "smux"}, cases.Result{Stalled: "there"}},
		{turn{2, "fast", "tcp"}, rate(50)}, {turn{2, "fast", "mux"}, rate(60)}, {turn{2, "fast", "smux"}, cases.Result{Stalled: "there"}},
		{turn{3, "fast", "tcp"}, rate(10)}, {turn{3, "fast", "mux"}, rate(8)}, {turn{3, "fast", "smux"}, rate(5)},
		{turn{1, "mem", "mux"}, bytes(240)}, {turn{2, "mem", "mux"}, bytes(250)}, {turn{3, "mem", "mux"}, bytes(230)},
		{turn{1, "mem", "smux"}, bytes(2800)}, {turn{2, "mem", "smux"}, cases.Result{Err: "gone"}}, {turn{3, "mem", "smux"}, bytes(2800)},
	}
}

// TestSummarize checks that ratios are those within each run.
func TestSummarize(t *testing.T) {
	p, ms := testPlan()
	rows := summarize(p, ms)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3", len(rows))
	}
	fast := rows[0].Peers
	if got, want := *fast["mux"].Ratio, (spread{0.9, 0.8, 1.2, 3}); got != want {
		t.Errorf("ratio of mux %+v, want %+v", got, want)
	}
	if got, want := *fast["mux"].Value, (spread{60, 8, 90, 3}); got != want {
		t.Errorf("value of mux %+v, want %+v", got, want)
	}
	if c := fast["smux"]; c.Stalled != 2 || *c.Ratio != (spread{0.5, 0.5, 0.5, 1}) {
		t.Errorf("smux stalled %d times, ratio %+v, want 2, 0.5", c.Stalled, *c.Ratio)
	}
	mem := rows[2].Peers
	if c := mem["mux"]; c.Ratio != nil || c.Value.Median != 240 {
		t.Errorf("memory of mux: %+v, want 240 and no ratio", c)
	}
	if c := mem["smux"]; c.Failed != 1 || c.Value.N != 2 {
		t.Errorf("memory of smux: %+v, want 1 failed, 2 values", c)
	}
	if _, ok := mem["tcp"]; ok {
		t.Error("there is memory of tcp, which the case is not for")
	}
}

// TestTables checks what is printed.
func TestTables(t *testing.T) {
	p, ms := testPlan()
	var b strings.Builder
	if err := writeTables(&b, p, ms); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n")
	const want = `
## Ratio to the baseline in the same run: median (min to max)

| case | unit | tcp                 | mux                 | smux             | target of mux        |
| ---- | ---- | ------------------- | ------------------- | ---------------- | -------------------- |
| fast | MB/s | 1.00 (1.00 to 1.00) | 0.90 (0.80 to 1.20) | 0.50, STALLED 2× | at least 1.0: MISSED |

## Medians (min to max)

| case | unit | tcp               | mux               | smux                           | target of mux |
| ---- | ---- | ----------------- | ----------------- | ------------------------------ | ------------- |
| fast | MB/s | 50.0 (10.0 to 100) | 60.0 (8.00 to 90.0) | 5.00, STALLED 2×               |               |
| mem  | B    |                   | 240 (230 to 250)  | 2800 (2800 to 2800), FAILED 1× | at most 350   |

## Processor time of both ends together

| case | unit | tcp                 | mux                 | smux             | target of mux |
| ---- | ---- | ------------------- | ------------------- | ---------------- | ------------- |
| fast | ms   | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | 1.00, STALLED 2× |               |

## What went wrong

- run 1, fast, smux stalled: there
- run 2, fast, smux stalled: there
- run 2, mem, smux failed: gone
`
	if squeeze(got) != squeeze(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	checkAligned(t, got)
}

var runs = regexp.MustCompile(` +|-{2,}`)

// squeeze shortens what only aligns.
func squeeze(s string) string {
	return runs.ReplaceAllStringFunc(s, func(run string) string { return run[:1] })
}

// checkAligned checks that the lines of a table are of one width.
func checkAligned(t *testing.T, s string) {
	t.Helper()
	width := 0
	for line := range strings.Lines(s) {
		n := utf8.RuneCountInString(line)
		switch {
		case line[0] != '|':
			width = 0
		case width == 0:
			width = n
		case n != width:
			t.Errorf("a line of %d characters in a table of %d: %s", n, width, line)
		}
	}
}
