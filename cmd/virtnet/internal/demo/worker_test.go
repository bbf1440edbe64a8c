package demo

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary what a worker runs, when it has an argument that says what.
func TestMain(m *testing.M) {
	switch len(os.Args) {
	case 2:
		switch os.Args[1] {
		case "process": // the real one
			if Process(context.Background(), os.Stdin, os.Stdout) != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "talk": // tells that it is ready, for ever
			for to := newTeller("x", os.Stdout); ; {
				to.tell(event{Kind: ready, PID: os.Getpid()})
			}
		case "babble": // tells nothing in our words, and dies
			fmt.Println("hello")
			fmt.Fprintln(os.Stderr, "note\nout of luck")
			os.Exit(3)
		case "fall silent": // dies without a word
			os.Exit(4)
		case "stay": // does not end by itself
			time.Sleep(time.Minute)
		}
	}
	os.Exit(m.Run())
}

// self returns the path of the test binary.
func self(t *testing.T) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newTestCrew returns a crew whose processes are of the test binary.
func newTestCrew(t *testing.T, what string) *crew {
	c := newCrew([]string{self(t), what})
	t.Cleanup(func() { c.end() })
	return c
}

func TestWorkerThatDies(t *testing.T) {
	for what, want := range map[string]string{
		"babble":      "out of luck",
		"fall silent": "exit status 4",
	} {
		c := newTestCrew(t, what)
		w, err := c.start(task{Host: "x"})
		if err != nil {
			t.Fatal(err)
		}
		got := <-c.heard
		if want := (event{Kind: ended, Host: "x", PID: w.pid(), Error: want}); got != want {
			t.Errorf("process that does %q: heard %+v, want %+v", what, got, want)
		}
		if err := c.end(); err != nil {
			t.Errorf("process that does %q: end: %v", what, err)
		}
	}
}

func TestWorkerKilled(t *testing.T) {
	c := newTestCrew(t, "stay")
	if _, err := c.start(task{Host: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := c.kill("x"); err != nil {
		t.Fatal(err)
	}
	if e := <-c.heard; e.Kind != ended || e.Error == "exit status 0" {
		t.Errorf("heard %+v of a process that was killed", e)
	}
}

// A process that has much to tell is not stuck when nobody hears it any more.
func TestCrewEnd(t *testing.T) {
	c := newTestCrew(t, "process")
	w, err := c.start(task{Host: "x/y"}) // no name for a host
	if err != nil {
		t.Fatal(err)
	}
	if e := <-c.heard; e.Kind != failed || !strings.Contains(e.Error, "x/y") {
		t.Errorf("heard %+v, want that the host's name is invalid", e)
	}
	if err := c.end(); err != nil {
		t.Error(err)
	}
	<-w.gone
	if err := c.end(); err != nil {
		t.Errorf("second end: %v", err)
	}
}

func TestCrewThatDoesNotEnd(t *testing.T) {
	for _, what := range []string{"stay", "talk"} {
		c := newTestCrew(t, what)
		c.patience = 50 * time.Millisecond
		w, err := c.start(task{Host: "x"})
		if err != nil {
			t.Fatal(err)
		}
		err = c.end()
		want := fmt.Sprintf("process %d did not end by itself within %v", w.pid(), c.patience)
		if err == nil || err.Error() != want {
			t.Errorf("process that does %q: %v, want %s", what, err, want)
		}
		<-w.gone
	}
}

func TestCrewCannotStart(t *testing.T) {
	c := newCrew([]string{"/no such program"})
	if _, err := c.start(task{Host: "α"}); err == nil || !strings.Contains(err.Error(), "cannot start a process for α") {
		t.Errorf("start: %v", err)
	}
	if err := c.end(); err != nil {
		t.Error(err)
	}
}
