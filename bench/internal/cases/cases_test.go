package cases

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/bench/internal/peer"
)

// small are the cases with little to do, by the names of those whose metrics they have.
var small = map[string]func(*env) (Values, error){
	"tput1":   tput(1, readBulk),
	"tput1wt": tput(1, copyBulk),
	"tput100": tput(5, readBulk),
	"ping1":   ping(1),
	"ping100": ping(5),
	"open1":   open(1),
	"open64":  open(5),
	"iso100":  isolation(3),
	"loadlat": loaded,
	"path":    ramp(100*time.Millisecond, 100*time.Millisecond),
	"mem10k":  idle(200),
	"check":   check(5, 300<<10),
}

// TestEach runs each case with each peer.
func TestEach(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(small)) {
		c, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		c.run, c.Over = small[name], "tcp"
		for _, p := range peer.All {
			if !c.For(p.Name) {
				continue
			}
			t.Run(name+"/"+p.Name, func(t *testing.T) {
				r := c.Measure(p, 15*time.Millisecond)
				if r.Err != "" || r.Stalled != "" {
					t.Fatalf("failed %q, stalled %q", r.Err, r.Stalled)
				}
				checkValues(t, c, r.Values)
			})
		}
	}
}

// checkValues checks that there is a figure for each metric, and no other.
func checkValues(t *testing.T, c Case, got Values) {
	t.Helper()
	known := make(map[string]bool)
	for _, m := range c.Metrics {
		known[m.Key] = true
		v, ok := got[m.Key]
		if !ok && m.Key != "reached" { // which need not happen
			t.Errorf("no figure for %s", m.Key)
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("%s is %v", m.Key, v)
		}
	}
	for key := range got {
		if !known[key] {
			t.Errorf("%s is no metric of the case", key)
		}
	}
	switch main := c.Metrics[0].Key; {
	case c.Name == "path" || c.Name == "mem10k": // with so little to do, other goroutines count for more
	case got[main] <= 0:
		t.Errorf("%s is %v, want more than 0", main, got[main])
	}
}

// TestTable checks what All says.
func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range All {
		if seen[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		seen[c.Name] = true
		if c.Doc == "" || c.Over == "" || c.Limit == 0 || c.run == nil || len(c.Metrics) == 0 {
			t.Errorf("%s: something is missing", c.Name)
		}
		for _, name := range c.Without {
			if _, err := peer.ByName(name); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		for _, m := range c.Metrics {
			if m.Base != "" {
				if _, err := peer.ByName(m.Base); err != nil {
					t.Errorf("%s, %s: %v", c.Name, m.Key, err)
				}
			}
			if m.Target != "" && m.Target.Met(math.NaN()) {
				t.Errorf("%s, %s: anything meets the target %q", c.Name, m.Key, string(m.Target))
			}
		}
	}
	if _, err := ByName("moon"); err == nil || !strings.Contains(err.Error(), "tput1, ") {
		t.Errorf("an unknown name: %v, want an error that lists the names", err)
	}
}

// TestResults checks what becomes of the ways a measurement can end.
func TestResults(t *testing.T) {
	tcp := peer.All[0]
	ends := func(v Values, err error) func(*env) (Values, error) {
		return func(*env) (Values, error) { return v, err }
	}
	for _, test := range []struct {
		name string
		over string
		run  func(*env) (Values, error)
		want Result
	}{
		{"values", "tcp", ends(Values{"a": 1}, nil), Result{Values: Values{"a": 1}}},
		{"an error", "tcp", ends(Values{"a": 1}, errors.New("broken")), Result{Err: "broken"}},
		{"stalled", "tcp", ends(nil, stalled{"here"}), Result{Stalled: "here"}},
		{"no end", "tcp", func(e *env) (Values, error) { <-e.stop; return nil, nil }, Result{Stalled: "not done within 50ms"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Case{Over: test.over, Limit: 50 * time.Millisecond, run: test.run}
			if test.name != "no end" {
				c.Limit = 10 * time.Second
			}
			got := c.Measure(tcp, time.Millisecond)
			if got.Err != test.want.Err || got.Stalled != test.want.Stalled || !maps.Equal(got.Values, test.want.Values) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	if r := (Case{Over: "pigeon", Limit: time.Second}).Measure(tcp, time.Millisecond); r.Err == "" {
		t.Errorf("over an unknown carrier: %+v, want an error", r)
	}
}
