package registry

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// answers is a Prober that always says the same.
func answers(a Answer) Prober {
	return func(context.Context, string, string) (Answer, error) { return a, nil }
}

// every mark × every answer: who has the name afterwards?
func TestJudge(t *testing.T) {
	const addr = "127.0.0.1:9"
	for _, test := range []struct {
		state  State
		answer Answer
		taken  bool // the announcement takes the name over
		swept  bool // the process's other hosts and its mark go too
	}{
		{Unmarked, Present, false, false},
		{Unmarked, Silent, false, false},
		{Unmarked, NoSuchHost, true, false},
		{Unmarked, Nobody, true, false},
		{Gone, Present, false, false},
		{Gone, Silent, true, false},
		{Gone, NoSuchHost, true, false},
		{Gone, Nobody, true, true},
		{Running, Present, false, false},
		{Running, Silent, false, false},
		{Running, NoSuchHost, true, false},
		{Running, Nobody, false, false},
	} {
		m := join(t, Config{TempDir: t.TempDir(), Probe: answers(test.answer)}, "n")
		mustExec(t, bareDB(t, m.path), "INSERT INTO hosts VALUES ('α', '"+addr+"'), ('β', '"+addr+"')")
		path := markPath(m.dir, 9)
		if test.state != Unmarked {
			mark, err := takeMark(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer mark.unlock()
			if test.state == Gone {
				mark.unlock()
			}
		}
		alpha, beta := addr, addr
		err := m.announce(t.Context(), "α")
		if test.taken {
			alpha = m.osladdr
			if err != nil {
				t.Errorf("%v, answer %d: %v", test.state, test.answer, err)
			}
		} else {
			wantError(t, err, virtnet.ErrHostDup)
		}
		if test.swept {
			beta = ""
		}
		wantQuery(t, m, "α", alpha)
		wantQuery(t, m, "β", beta)
		if _, err := os.Stat(path); (err == nil) != (test.state != Unmarked && !test.swept) {
			t.Errorf("%v, answer %d: the mark: %v", test.state, test.answer, err)
		}
	}
}

func TestProbeFails(t *testing.T) {
	failure := errors.New("too many open files")
	m := join(t, Config{TempDir: t.TempDir(), Probe: func(context.Context, string, string) (Answer, error) { return Nobody, failure }}, "n")
	mustExec(t, bareDB(t, m.path), "INSERT INTO hosts VALUES ('α', '127.0.0.1:9')")
	wantError(t, m.announce(t.Context(), "α"), failure)
	wantQuery(t, m, "α", "127.0.0.1:9")
}

// A probe has a second, less if its Announce has less, and ends with the registry.
func TestProbeEnds(t *testing.T) {
	var m *member
	began := make(chan time.Duration, 1)
	m = join(t, Config{TempDir: t.TempDir(), Probe: func(ctx context.Context, osladdr, host string) (Answer, error) {
		deadline, _ := ctx.Deadline()
		began <- time.Until(deadline)
		<-ctx.Done()
		return Silent, nil
	}}, "n")
	mustExec(t, bareDB(t, m.path), "INSERT INTO hosts VALUES ('α', '127.0.0.1:9')")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.announce(ctx, "α") }()
	if limit := <-began; limit > time.Second || limit < time.Second/2 {
		t.Errorf("a probe has %v", limit)
	}
	cancel()
	wantError(t, <-done, context.Canceled)

	go func() { done <- m.announce(t.Context(), "α") }()
	<-began
	m.Close()
	wantError(t, <-done, virtnet.ErrRegistryDown)
}

// The name of a host that its process has closed but not withdrawn is free.
func TestTakeClosedHost(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	if err := a.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	a.closed.Store(true)
	if err := b.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	wantQuery(t, a, "α", b.osladdr)
	// The withdrawal comes late and finds nothing of its own.
	if err := a.withdraw(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	wantQuery(t, a, "α", b.osladdr)
}

// A process that is about to close has no listener any more while it still has its mark: that is not
// taken for the end, but waited for.
func TestAnnounceWhileClosing(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a := join(t, c, "n")
	asked := 0
	c.Probe = func(context.Context, string, string) (Answer, error) {
		if asked++; asked == 2 {
			a.Close()
		}
		return Nobody, nil
	}
	b := join(t, c, "n")
	mustExec(t, bareDB(t, a.path), "INSERT INTO hosts VALUES ('α', '"+a.osladdr+"')") // a never deletes it: nothing is its own
	if err := b.announce(t.Context(), "α"); err != nil || asked != 2 {
		t.Errorf("%v, after being asked %d times", err, asked)
	}
}

func TestGone(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	if err := a.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	if b.Gone(a.osladdr) || b.Gone("") || b.Gone("10.0.0.1:9") {
		t.Error("gone, but alive or nowhere")
	}
	a.mark.unlock() // as if killed
	if !b.Gone(a.osladdr) {
		t.Error("not gone")
	}
	wantQuery(t, b, "α", a.osladdr) // for the next who dials it
	wantMark(t, a.mark.path, Gone)

	// Nobody's mark: there is nothing to tell it from a program that leaves none.
	mustExec(t, bareDB(t, b.path), "INSERT INTO hosts VALUES ('β', '127.0.0.1:9')")
	if !b.Gone("127.0.0.1:9") {
		t.Error("unmarked, but not gone")
	}
	wantQuery(t, b, "β", "127.0.0.1:9")
}

// To find a process gone needs no lock of the database.
func TestGoneLocked(t *testing.T) {
	b := join(t, Config{TempDir: t.TempDir()}, "n")
	other := bareDB(t, b.path)
	os.WriteFile(markPath(b.dir, 9), nil, 0o600)
	mustExec(t, other, "INSERT INTO hosts VALUES ('β', '127.0.0.1:9')", "BEGIN IMMEDIATE")
	if !b.Gone("127.0.0.1:9") {
		t.Error("not gone")
	}
	wantMark(t, markPath(b.dir, 9), Gone)
	mustExec(t, other, "COMMIT")
	wantQuery(t, b, "β", "127.0.0.1:9")
}
