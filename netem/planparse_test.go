package netem_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
)

// parse parses a plan that nothing is wrong with.
func parse(t *testing.T, text string) *netem.Plan {
	t.Helper()
	p, err := netem.ParsePlan("plan.txt", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return p
}

// The same plan in Go, and as a file.
func TestPlanText(t *testing.T) {
	at := netem.At(90 * time.Second)
	abc := []string{"a", "b", "c"}
	for _, x := range []struct {
		text string // as people may write it
		want string // as it is printed; "" if that is the text
		step netem.Step
	}{
		{"1m30s all none", "", at.All(netem.Rules{})},
		{"90s all latency = 20ms  loss=0.5%", "1m30s all latency=20ms loss=0.5%",
			at.All(netem.Rules{Latency: netem.Constant(20 * ms), Loss: 0.005})},
		{"1m30s all latency=constant(1s) loss=.25", "1m30s all latency=1s loss=25%",
			at.All(netem.Rules{Latency: netem.Constant(time.Second), Loss: 0.25})},
		{"1m30s all loss=0.123456789", "", at.All(netem.Rules{Loss: 0.123456789})},
		{"1.5m link a -> b latency=uniform( 1ms, 9ms ) for 1h", "1m30s link a -> b latency=uniform(1ms,9ms) for 1h",
			at.Link(netem.Way("a", "b"), netem.Rules{Latency: netem.Uniform(ms, 9*ms)}).For(time.Hour)},
		{"1m30s link a<->b latency=normal(5ms,1ms)", "1m30s link a <-> b latency=normal(5ms,1ms)",
			at.Link(netem.Between("a", "b"), netem.Rules{Latency: netem.Normal(5*ms, ms)})},
		{"1m30s link a,b -> c latency=exp(5ms)#fast", "1m30s link a,b -> c latency=exp(5ms)",
			at.Link(netem.Links{From: abc[:2], To: abc[2:]}, netem.Rules{Latency: netem.Exponential(5 * ms)})},
		{"1m30s all latency=pareto(5ms,1.5)", "", at.All(netem.Rules{Latency: netem.Pareto(5*ms, 1.5)})},
		{"1m30s all correlation=30% bandwidth=1MB/s window=64KiB retransmit=100ms slice=100 dial=refuse dial-first=2 " +
			"reset-after=1m reset-bytes=1GB close-bytes=1000001 close-delay=3s", "",
			at.All(netem.Rules{Correlation: 0.3, Bandwidth: 1e6, Window: 64 << 10, Retransmit: 100 * ms, Slice: 100, Dial: netem.DialRefuse,
				DialFirst: 2, ResetAfter: time.Minute, ResetBytes: 1e9, CloseBytes: 1_000_001, CloseDelay: 3 * time.Second})},
		{"1m30s all bandwidth=1.5KB/s window=2kB dial=discard", "1m30s all bandwidth=1500B/s window=2KB dial=discard",
			at.All(netem.Rules{Bandwidth: 1500, Window: 2000, Dial: netem.DialDiscard})},
		{"1m30s all dial=pass loss=0", "1m30s all none", at.All(netem.Rules{})},
		{"1m30s partition a,b|c for 20s", "1m30s partition a,b | c for 20s", at.Partition(abc[:2], abc[2:]).For(20 * time.Second)},
		{"1m30s one-way a -> b,c", "", at.OneWay(abc[:1], abc[1:])},
		{"1m30s isolate a, b ,c", "1m30s isolate a,b,c", at.Isolate(abc...)},
		{"1m30s halves a,b,c", "", at.Halves(abc...)},
		{"1m30s bridge a,b,c", "", at.Bridge(abc...)},
		{"1m30s ring a,b,c,d", "", at.Ring("a", "b", "c", "d")},
		{"1m30s swizzle a,b,c pause=exp(1s) for 1m", "", at.Swizzle(netem.Exponential(time.Second), abc...).For(time.Minute)},
		{"1m30s heal", "", at.Heal()},
		{"1m30s hold a -> b for 1ms", "", at.Hold(netem.Way("a", "b")).For(ms)},
		{"1m30s release a -> b", "", at.Release(netem.Way("a", "b"))},
		{"1m30s cut a <-> b", "", at.Cut(netem.Between("a", "b"))},
		{"1m30s mend a <-> b", "", at.Mend(netem.Between("a", "b"))},
		{"1m30s clear", "", at.Clear(netem.Links{})},
		{"1m30s clear a -> b", "", at.Clear(netem.Way("a", "b"))},
		{"1m30s reset a -> b", "", at.Reset(netem.Way("a", "b"))},
		{"1m30s sever a -> b", "", at.Sever(netem.Way("a", "b"))},
		{"1m30s crash a for 1h30m", "", at.Crash("a").For(90 * time.Minute)},
		{"1m30s vanish a,b", "", at.Vanish("a", "b")},
		{"1m30s start a", "", at.Start("a")},
		{`1m30s isolate "two  words","for",α-1,"#","a<b",` + "`raw`", `1m30s isolate "two  words","for",α-1,"#","a<b",raw`,
			at.Isolate("two  words", "for", "α-1", "#", "a<b", "raw")},
		{"1m30s hold a-->b", "1m30s hold a- -> b", at.Hold(netem.Way("a-", "b"))},
	} {
		p := parse(t, x.text)
		if want := (&netem.Plan{Steps: []netem.Step{x.step}}); !reflect.DeepEqual(p, want) {
			t.Errorf("%s: got %+v, want %+v", x.text, p.Steps, want.Steps)
		}
		want := x.want
		if want == "" {
			want = x.text
		}
		if got := x.step.String(); got != want {
			t.Errorf("%s: String: %s, want %s", x.text, got, want)
		}
	}
}

// A file with everything around the steps; Windows ends lines otherwise.
func TestPlanFile(t *testing.T) {
	const text = "\ufeff# a plan\r\n\r\n  hosts a, b # and more\r\n1m\theal\r\nhosts \"c d\"\r\n0s  isolate \"c d\" for 5s # ;\r\n"
	p := parse(t, text)
	const want = "hosts a,b,\"c d\"\n1m  heal\n0s  isolate  \"c d\"  for 5s\n"
	if got := p.String(); got != want {
		t.Errorf("String:\n%s\nwant\n%s", got, want)
	}
	if q := parse(t, p.String()); !reflect.DeepEqual(p, q) {
		t.Errorf("the printed plan is another one: %v", q)
	}
	text2, err := p.MarshalText()
	var q netem.Plan
	if err != nil || q.UnmarshalText(text2) != nil || !reflect.DeepEqual(p, &q) {
		t.Errorf("MarshalText: %q, %v, and unmarshalled %v", text2, err, &q)
	}
	if err := q.UnmarshalText([]byte("x")); err == nil || len(q.Steps) != 2 {
		t.Errorf("UnmarshalText of nonsense: %v, and the plan is %v", err, &q)
	}
	if _, err := (&netem.Plan{Steps: []netem.Step{{}}}).MarshalText(); err == nil {
		t.Error("MarshalText of nonsense succeeds")
	}
}

func TestReadPlan(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan")
	if err := os.WriteFile(file, []byte("0s heal\nx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := netem.ReadPlan(file); err == nil || err.Error() != file+":2: x: want a time, for example 1.5s, 20ms, 1m30s" {
		t.Errorf("ReadPlan: %v", err)
	}
	if _, err := netem.ReadPlan(file + "s"); !os.IsNotExist(err) {
		t.Errorf("ReadPlan of nothing: %v", err)
	}
}

// Every field of Rules is reachable from a file.
func TestPlanHasAllRules(t *testing.T) {
	r := reflect.TypeFor[netem.Rules]()
	for field := range r.Fields() {
		var name strings.Builder
		for k, c := range field.Name {
			if k > 0 && c >= 'A' && c <= 'Z' {
				name.WriteByte('-')
			}
			name.WriteString(strings.ToLower(string(c)))
		}
		_, err := netem.ParsePlan("plan", []byte("0s all "+name.String()+"=?"))
		if err == nil || strings.Contains(err.Error(), "no such rule") {
			t.Errorf("Rules.%s: %v", field.Name, err)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("hosts a,b,c,\"d e\"\n0s all latency=exp(5ms) loss=1%\n10s link a <-> b latency=pareto(1ms,1e9) bandwidth=1.5MB/s for 3s")
	f.Add("30s partition a,b | c,d for 20s\n1m swizzle a,b pause=uniform(1s, 2s)\n1m one-way a->b\n1h clear\n2h clear a->b")
	f.Add("1s crash `b` for 10s # comment\n\n1s all none\r\n1s hold \"for\"->a--")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := netem.ParsePlan("plan", []byte(text))
		if err != nil {
			if n := strings.Count(err.Error(), "\n"); n > 10 {
				t.Errorf("the error has %d lines", n+1)
			}
			return
		}
		q, err := netem.ParsePlan("again", []byte(p.String()))
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%q is printed as\n%v, which is (%v)\n%v", text, p, err, q)
		}
		for _, s := range p.Steps {
			if q := parse(t, s.String()); !reflect.DeepEqual(q.Steps[0], s) {
				t.Errorf("%+v is %q, and that is %+v", s, s.String(), q.Steps[0])
			}
		}
	})
}

// Whatever is in a file, it is a plan that can be written and read again, or an error that names the line.
func FuzzParsePlan(f *testing.F) {
	f.Add("hosts a, b, \"for\"\n0s all latency=exp(5ms) loss=1% correlation=30%\n1m link a,b <-> b bandwidth=1.5MB/s for 1s")
	f.Add("1s swizzle a,b pause=pareto(1ms, 1.5) # c\n2s clear\n2s clear a -> b\n3s one-way a -> b for 1s\n4s ring a,b,c,`d e`")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := netem.ParsePlan("file", []byte(text))
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "file:") && !strings.HasPrefix(line, "and ") {
					t.Errorf("%q: an error without a line: %s", text, line)
				}
			}
			return
		}
		if err := p.Check(); err != nil {
			t.Errorf("%q: Check: %v", text, err)
		}
		again, err := netem.ParsePlan("file", []byte(p.String()))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is\n%s\n%v; and again\n%v", text, p, err, again)
		}
	})
}
