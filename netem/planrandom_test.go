package netem_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// A plan by chance is valid, prints and parses, is the same again, has what was asked for, and is quiet in the end.
func TestRandomPlan(t *testing.T) {
	hosts := []string{"a", "b", "c", "d", "e"}
	const all = "all bridge crash halves isolate link one-way partition reset ring swizzle vanish heal"
	for _, x := range []struct {
		name  string
		hosts int
		what  netem.Faults
		verbs string // all that there are, over many seeds
	}{
		{"everything", 5, netem.FaultAll, all},
		{"the network", 5, netem.FaultNetwork, strings.NewReplacer("crash ", "", "vanish ", "").Replace(all)},
		{"partitions", 4, netem.FaultPartition, "bridge halves isolate partition ring swizzle heal"},
		{"of three", 3, netem.FaultPartition, "bridge halves isolate partition swizzle heal"},
		{"of two", 2, netem.FaultPartition, "halves isolate swizzle heal"},
		{"one way", 2, netem.FaultOneWay, "one-way heal"},
		{"slow", 2, netem.FaultSlow, "all link heal"},
		{"resets", 2, netem.FaultReset, "reset heal"},
		{"crashes", 1, netem.FaultCrash, "crash vanish heal"},
		{"one host", 1, netem.FaultAll, "all crash vanish heal"},
		{"no host", 0, netem.FaultAll &^ netem.FaultSlow, "heal"},
		{"nothing", 5, 0, "heal"},
	} {
		t.Run(x.name, func(t *testing.T) {
			seen, texts := make(map[string]bool), make(map[string]bool)
			steps := 0
			for seed := range uint64(100) {
				p := netem.RandomPlan(seed, hosts[:x.hosts], 5*time.Minute, x.what)
				if err := p.Check(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				text := p.String()
				if q := parse(t, text); q.String() != text || !reflect.DeepEqual(q.Steps, p.Steps) {
					t.Errorf("seed %d: it is parsed as\n%v and was\n%v", seed, q, p)
				}
				if again := netem.RandomPlan(seed, hosts[:x.hosts], 5*time.Minute, x.what); !reflect.DeepEqual(again, p) {
					t.Errorf("seed %d: first\n%v then\n%v", seed, p, again)
				}
				texts[text] = true
				steps += len(p.Steps)
				for _, s := range p.Steps {
					seen[strings.Fields(s.String())[1]] = true
				}
			}
			for v := range strings.FieldsSeq(x.verbs) {
				if !seen[v] {
					t.Errorf("there is no %s", v)
				}
				delete(seen, v)
			}
			if len(seen) > 0 {
				t.Errorf("there are %v, too", seen)
			}
			if n := steps / 100; x.hosts == 5 && x.what != 0 && (n < 15 || n > 30 || len(texts) != 100) {
				t.Errorf("there are %d steps in the mean, and %d different plans, want some 20, and 100", n, len(texts))
			}
		})
	}
}

// Plans of any length are valid.
func TestRandomPlanLength(t *testing.T) {
	for _, d := range []time.Duration{1, 100, time.Microsecond, time.Second, 24 * time.Hour, 10000 * time.Hour} {
		for seed := range uint64(20) {
			if err := netem.RandomPlan(seed, []string{"a", "b", "c"}, d, netem.FaultAll).Check(); err != nil {
				t.Errorf("%v: %v", d, err)
			}
		}
	}
	if err := netem.RandomPlan(1, []string{"a", "b", "c"}, 0, netem.FaultNetwork&^netem.FaultSlow).Check(); err != nil {
		t.Error(err)
	}
}

// When a random plan has run its time, nothing is cut or slow, and everybody is up. Never is a majority down.
func TestRandomPlanRuns(t *testing.T) {
	const length = 5 * time.Minute
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			em := netem.New(seed)
			net := pipenet.Config{Emulator: em}.New("t")
			defer net.Close()
			subnet := pipenet.AsVirtNet(net)
			hosts := []string{"a", "b", "c", "d"}
			for _, h := range hosts {
				net.Host(h)
			}
			began := time.Now()
			var late strings.Builder
			time.AfterFunc(length/10*9+time.Second, func() {
				for _, h := range hosts {
					if em.Link(h, "other").State().Cut || subnet.Host(h) == nil {
						late.WriteString(h)
					}
				}
			})
			err := netem.RandomPlan(seed, hosts, length, netem.FaultAll).Run(t.Context(), em, &netem.RunConfig{
				Host: func(name string) *virtnet.Host {
					down := 0
					for _, h := range hosts {
						if subnet.Host(h) == nil {
							down++
						}
					}
					if h := subnet.Host(name); h != nil && down == 0 {
						return h
					}
					t.Errorf("seed %d: %s is to crash, and %d hosts are down", seed, name, down)
					return nil
				},
				Start: func(ctx context.Context, name string) error {
					_, err := subnet.NewHost(ctx, name)
					return err
				},
			})
			if err != nil || late.Len() > 0 {
				t.Errorf("seed %d: %v; after nine tenths %s are cut off or down", seed, err, late.String())
			}
			if got := time.Since(began); got != length {
				t.Errorf("seed %d: it took %v, want %v", seed, got, length)
			}
			if got := seen(em); got != "" {
				t.Errorf("seed %d: it leaves %s", seed, got)
			}
			for _, h := range hosts {
				if subnet.Host(h) == nil {
					t.Errorf("seed %d: %s is down", seed, h)
				}
			}
		})
	}
}

// Two swizzles that begin at one instant are always the same.
func TestPlanRepeats(t *testing.T) {
	var first string
	for i := range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := parse(t, "0s swizzle a,b,c,d pause=exp(1s)\n0s swizzle a,b pause=exp(3s)\n0s swizzle c,d pause=exp(2s)")
			all, err := watch(t.Context(), netem.New(7), p)
			if got := fmt.Sprint(all, err); i == 0 {
				first = got
			} else if got != first {
				t.Errorf("run %d: %s\nthe first: %s", i, got, first)
			}
		})
	}
}
