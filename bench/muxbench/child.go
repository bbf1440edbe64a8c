package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/virtnet/virtnet/bench/internal/cases"
	"github.com/virtnet/virtnet/bench/internal/peer"
)

// processes measures in a process of its own each time, so that nothing of one measurement, its heap least of all, is
// there in the next.
type processes struct {
	time    time.Duration
	profile string // directory, "" for none
}

// grace is how much longer than the case's limit a process may live.
const grace = 10 * time.Second

func (p processes) measure(ctx context.Context, c cases.Case, who peer.Peer) cases.Result {
	exe, err := os.Executable()
	if err != nil {
		return cases.Result{Err: err.Error()}
	}
	limited, cancel := context.WithTimeout(ctx, c.Limit+grace)
	defer cancel()
	cmd := exec.CommandContext(limited, exe, "-measure", c.Name+" "+who.Name, "-time", p.time.String(), "-cpuprofile", p.profile)
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return cases.Result{Err: ctx.Err().Error()}
	case limited.Err() != nil:
		return cases.Result{Stalled: "had to be killed"}
	case err != nil:
		return cases.Result{Err: fmt.Sprintf("%v: %s", err, tail(stderr.String(), 2000))}
	}
	var r cases.Result
	if err := json.Unmarshal(out, &r); err != nil {
		return cases.Result{Err: fmt.Sprintf("the measuring process printed %q: %v", tail(string(out), 200), err)}
	}
	return r
}

// tail returns the last n bytes of s at most.
func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// child is what such a process does: it measures, and prints the result.
func child(o options, stdout io.Writer) error {
	caseName, peerName, _ := strings.Cut(o.measure, " ")
	c, err := cases.ByName(caseName)
	if err != nil {
		return err
	}
	p, err := peer.ByName(peerName)
	if err != nil {
		return err
	}
	end, err := startProfile(o.profile, caseName+"-"+peerName)
	if err != nil {
		return err
	}
	r := c.Measure(p, o.time)
	return errors.Join(end(), json.NewEncoder(stdout).Encode(r))
}

func startProfile(dir, name string) (end func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
