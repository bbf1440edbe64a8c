package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

var (
	level      = flag.String("raftlog", "warn", "level of raft's log, of which the end is shown of a seed that fails")
	many       = flag.Int("seeds", 0, "how many seeds to run, if it is not what the environment says")
	inFlight   = flag.Int("flight", flight, "how many requests raft has under way to a follower")
	keepBehind = flag.Int("trailing", trailing, "how many entries raft keeps behind a snapshot")
)

// seeds is how many there are to run.
func seeds() int {
	if *many > 0 {
		return *many
	}
	if os.Getenv("VIRTNET_TEST_LONG") == "1" && !race {
		return 5000
	}
	return 50
}

// TestCluster runs the cluster with many seeds. The package comment says how to repeat one that fails.
func TestCluster(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { try(t, uint64(seed)) })
		})
	}
}

func try(t *testing.T, seed uint64) {
	var logs tail
	m := newModel(nil)
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(*level), Output: &logs})
	err := run(seed, entries, settings{beat: time.Second, logger: logger, flight: *inFlight, trailing: *keepBehind}, m)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	for _, p := range m.problems() {
		t.Errorf("seed %d: %s", seed, p)
	}
	if n := m.committed(); n < entries {
		t.Errorf("seed %d: %d entries are committed, want %d", seed, n, entries)
	}
	if t.Failed() {
		t.Logf("the end of raft's log:\n%s", logs.String())
		t.Logf("to repeat it, many times: go test ./raft -run 'TestCluster/seed=%d$' -seeds=%d -count=100", seed, seed+1)
	}
	for _, line := range m.account {
		t.Log(line)
	}
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() > 2*tailSize {
		t.buf.Next(t.buf.Len() - tailSize)
	}
	return t.buf.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
