package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/bench/internal/cases"
)

// TestMain lets the test's executable be the one that measures: it is what os.Executable gives.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-measure" {
		main()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // with -race, each process would sleep for a second at its end
	os.Exit(m.Run())
}

// TestRun measures for real, with processes.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	args := []string{"-peers", "tcp,mux", "-cases", "ping1,open1", "-runs", "2", "-time", "20ms", "-cpuprofile", dir}
	if err := run(t.Context(), args, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Ratio to the baseline", "| ping1 ", "| open1 ", "2 runs", "at least 0.72"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in:\n%s", want, stdout.String())
		}
	}
	if got := strings.Count(stderr.String(), "\n"); got != 8 {
		t.Errorf("%d lines of progress, want 8:\n%s", got, stderr.String())
	}
	profiles, _ := filepath.Glob(filepath.Join(dir, "*.pprof"))
	if len(profiles) != 4 {
		t.Errorf("profiles: %q, want 4", profiles)
	}
}

func TestJSON(t *testing.T) {
	var stdout bytes.Buffer
	err := run(t.Context(), []string{"-peers", "tcp,mux", "-cases", "open1", "-runs", "1", "-time", "20ms", "-json"}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var got results
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, stdout.String())
	}
	if len(got.Measurements) != 2 || got.Measurements[0].Peer != "tcp" || got.Measurements[1].Values["rate"] <= 0 {
		t.Errorf("measurements %+v, want those of tcp and mux", got.Measurements)
	}
	if r := got.Summary[0].Peers["mux"].Ratio; r == nil || r.Median <= 0 {
		t.Errorf("ratio of mux %+v, want one", r)
	}
}

// TestCheck checks mux, and what becomes of a peer that fails.
func TestCheck(t *testing.T) {
	if err := run(t.Context(), []string{"-peers", "mux", "-check", "-cases", "ping1", "-time", "10ms"}, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
	err := anyFailed([]measurement{
		{turn{1, "check", "mux"}, cases.Result{}},
		{turn{1, "check", "smux"}, cases.Result{Err: "lost"}},
		{turn{1, "check", "yamux"}, cases.Result{Stalled: "here"}},
	})
	if want := "smux, check: lost\nyamux, check: here"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, args   string
		peers, cases string // the first and the last
		runs         int
		err          string
	}{
		{name: "all", peers: "tcp http2", cases: "tput1 mem100k", runs: 5},
		{name: "some", args: "-peers mux,tcp -cases ping1,mem1M -runs 7", peers: "mux tcp", cases: "ping1 mem1M", runs: 7},
		{name: "check", args: "-check", peers: "tcp http2", cases: "check tls-check", runs: 1},
		{name: "peer", args: "-peers quic", err: `peer "quic" is not known`},
		{name: "case", args: "-cases moon", err: `case "moon" is not known`},
		{name: "list", args: "-cases list", err: "mem1M*"},
		{name: "argument", args: "now", err: `argument "now" is not known`},
		{name: "runs", args: "-runs 0", err: "-runs and -time must be more than 0"},
		{name: "flag", args: "-fast", err: "flag provided but not defined: -fast"},
		{name: "help", args: "-help", err: flag.ErrHelp.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := parse(strings.Fields(test.args), io.Discard)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			peers := o.peers[0].Name + " " + o.peers[len(o.peers)-1].Name
			names := o.plan.cases[0].Name + " " + o.plan.cases[len(o.plan.cases)-1].Name
			if peers != test.peers || names != test.cases || o.runs != test.runs {
				t.Errorf("got peers %s, cases %s, %d runs, want %s, %s, %d", peers, names, o.runs, test.peers, test.cases, test.runs)
			}
		})
	}
}

// TestProcessFails checks what a measurement is that its process does not come through.
func TestProcessFails(t *testing.T) {
	o, err := parse([]string{"-peers", "tcp", "-cases", "ping1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, who := o.plan.cases[0], o.peers[0]

	unknown := c
	unknown.Name = "moon"
	if r := (processes{time: time.Millisecond}).measure(t.Context(), unknown, who); !strings.Contains(r.Err, `case "moon" is not known`) {
		t.Errorf("got %+v, want the error of the process", r)
	}
	hopeless := c
	hopeless.Limit = -grace
	if r := (processes{time: time.Millisecond}).measure(t.Context(), hopeless, who); r.Stalled == "" {
		t.Errorf("got %+v, want stalled", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.plan.run(ctx, processes{time: time.Millisecond}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that of the context", err)
	}
}

func TestOrder(t *testing.T) {
	o, err := parse([]string{"-peers", "tcp,mux,http2", "-cases", "ping1,mem100k", "-runs", "2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []turn{
		{1, "ping1", "tcp"}, {1, "ping1", "mux"}, {1, "ping1", "http2"}, {1, "mem100k", "mux"},
		{2, "ping1", "mux"}, {2, "ping1", "http2"}, {2, "ping1", "tcp"}, {2, "mem100k", "mux"},
	}
	if got := o.plan.order(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
