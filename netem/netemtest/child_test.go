package netemtest_test

import (
	"os"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/netem/netemtest"
)

// The tests of this file fail, each in its own way, and run only in the processes that the tests of process_test.go
// start.

// childEnv tells a process that it is one.
const childEnv = "NETEMTEST_CHILD"

func child(t *testing.T) {
	t.Helper()
	if os.Getenv(childEnv) == "" {
		t.Skip("runs in a process of another test")
	}
}

func TestChildError(t *testing.T) {
	child(t)
	netemtest.Run(t, 5, func(t *testing.T, em *netem.Net) {
		t.Cleanup(func() { t.Log("cleaned up") })
		if s := em.Seed(); s == 3 || s == 4711 {
			t.Fatalf("wrong with %d", s)
		}
	})
}

func TestChildNested(t *testing.T) {
	child(t)
	for _, name := range []string{"it's a (b|c)", "α/β.γ", "same", "same"} {
		t.Run(name, func(t *testing.T) {
			fail := func(t *testing.T, em *netem.Net) {
				if em.Seed() == 2 {
					t.Error("wrong")
				}
			}
			netemtest.Run(t, 2, fail)
			netemtest.Config{Parallel: true, RealTime: true}.Run(t, 3, fail)
		})
	}
}

func TestChildParallel(t *testing.T) {
	child(t)
	netemtest.Config{Parallel: true}.Run(t, 30, func(t *testing.T, em *netem.Net) {
		time.Sleep(time.Hour)
		if em.Seed() > 5 {
			t.Error("wrong")
		}
	})
}

func TestChildPanic(t *testing.T) {
	child(t)
	netemtest.Run(t, 5, func(t *testing.T, em *netem.Net) {
		if em.Seed() == 3 {
			panic("out of order")
		}
	})
}

func TestChildPanicElsewhere(t *testing.T) {
	child(t)
	netemtest.Run(t, 5, func(t *testing.T, em *netem.Net) {
		go func() {
			if em.Seed() == 3 {
				panic("out of order")
			}
		}()
		time.Sleep(time.Minute)
	})
}

func TestChildDeadlock(t *testing.T) {
	child(t)
	netemtest.Run(t, 5, func(t *testing.T, em *netem.Net) {
		if em.Seed() == 3 {
			select {}
		}
	})
}

func TestChildTimeout(t *testing.T) {
	child(t)
	netemtest.Config{RealTime: true}.Run(t, 5, func(t *testing.T, em *netem.Net) {
		if em.Seed() == 3 {
			time.Sleep(time.Hour)
		}
	})
}

func TestChildNoSeeds(t *testing.T) {
	child(t)
	netemtest.Run(t, 0, func(t *testing.T, em *netem.Net) {})
}
