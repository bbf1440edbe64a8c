package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// wantError checks for a *virtnet.RegistryError with the cause.
func wantError(t testing.TB, err, cause error) {
	t.Helper()
	var re *virtnet.RegistryError
	if !errors.As(err, &re) || re.Err != cause {
		t.Errorf("got error %v, want a RegistryError with cause %v", err, cause)
	}
}

func wantQuery(t testing.TB, m *member, host, want string) {
	t.Helper()
	got, err := m.Query(t.Context(), host)
	if got != want || (want != "") != (err == nil) {
		t.Errorf("query %s: got %q, %v; want %q", host, got, err, want)
	}
	if want == "" {
		wantError(t, err, virtnet.ErrNoHost)
	}
}

func TestRegistry(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	ctx := t.Context()
	wantQuery(t, b, "α", "")
	if err := a.announce(ctx, "α"); err != nil {
		t.Fatal(err)
	}
	wantQuery(t, a, "α", a.osladdr)
	wantQuery(t, b, "α", a.osladdr)
	wantError(t, a.announce(ctx, "α"), virtnet.ErrHostDup)
	wantError(t, b.announce(ctx, "α"), virtnet.ErrHostDup)
	if want := fmt.Sprintf(`%s: announce ["α" %q]: host already registered`, b.path, b.osladdr); b.announce(ctx, "α").Error() != want {
		t.Errorf("got error %v, want %s", b.announce(ctx, "α"), want)
	}

	// Only its announcer withdraws it.
	if err := b.withdraw(ctx, "α"); err != nil {
		t.Error(err)
	}
	if err := a.Withdraw(ctx, "α", b.osladdr); err != nil {
		t.Error(err)
	}
	wantQuery(t, b, "α", a.osladdr)
	if err := a.withdraw(ctx, "α"); err != nil {
		t.Error(err)
	}
	wantQuery(t, a, "α", "")
	if err := b.announce(ctx, "α"); err != nil {
		t.Error(err)
	}
	if err := a.Announce(ctx, "β", b.osladdr); err == nil || a.owns("β") {
		t.Errorf("announced another process's address: %v", err)
	}
}

func TestClose(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	ctx := t.Context()
	if err := errors.Join(a.announce(ctx, "α"), a.announce(ctx, "β")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.leave(); err != nil {
			t.Error(err)
		}
	}
	wantQuery(t, b, "α", "")
	wantQuery(t, b, "β", "")
	if _, err := os.Stat(a.mark.path); err == nil {
		t.Error("the mark is still there")
	}
	_, err := a.Query(ctx, "α")
	wantError(t, err, virtnet.ErrRegistryDown)
	wantError(t, a.announce(ctx, "α"), virtnet.ErrRegistryDown)
	wantError(t, a.withdraw(ctx, "α"), virtnet.ErrRegistryDown)
}

// An ended context is an error even where nothing has to be waited for; a Withdraw succeeds all the same.
func TestContextDone(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	if err := m.announce(t.Context(), "β"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, m.announce(ctx, "α"), context.Canceled)
	_, err := m.Query(ctx, "β")
	wantError(t, err, context.Canceled)
	_, err = Config{TempDir: t.TempDir()}.Open(ctx, "n", "127.0.0.1:1")
	wantError(t, err, context.Canceled)
	if err := m.withdraw(ctx, "β"); err != nil {
		t.Error(err)
	}
	wantQuery(t, m, "β", "")
	wantQuery(t, m, "α", "")
	if m.owns("α") {
		t.Error("a failed announcement is kept")
	}
}

func TestBadRows(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	conn := bareDB(t, m.path)
	for _, osladdr := range []string{"NULL", "''", "'10.0.0.1:80'", "'127.0.0.1'", "'127.0.0.1:0'", "'127.0.0.1:99999'", "x'ff00'", "4711"} {
		mustExec(t, conn, "INSERT INTO hosts VALUES ('α', "+osladdr+")")
		got, err := m.Query(t.Context(), "α")
		text := table(t, conn, "SELECT osladdr FROM hosts")
		if want := fmt.Sprintf(`%s: query ["α"]: the registry has address %q, which is not 127.0.0.1:port`, m.path, text); err == nil || err.Error() != want {
			t.Errorf("query: got %q, %v; want error %s", got, err, want)
		}
		if err := m.announce(t.Context(), "α"); !errors.Is(err, virtnet.ErrHostDup) {
			t.Errorf("announce: %v", err)
		}
		mustExec(t, conn, "DELETE FROM hosts")
	}
	// Where a row breaks the rule that SQLite does not enforce, others do not suffer.
	mustExec(t, conn, "INSERT INTO hosts VALUES (NULL, NULL), (NULL, NULL), (x'ceb1', '127.0.0.1:1')")
	wantQuery(t, m, "α", "")
}

// A row whose address was ours before us is a dead process's.
func TestPortReused(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer a.ln.Close()
	b := join(t, c, "n")
	mustExec(t, bareDB(t, b.path), "INSERT INTO hosts VALUES ('old', '"+a.osladdr+"'), ('other', '127.0.0.1:1')")
	r, err := c.Open(t.Context(), "n", a.osladdr)
	if err != nil {
		t.Fatal(err)
	}
	a.joined(r)
	defer a.Close()
	wantQuery(t, b, "old", "")
	wantQuery(t, b, "other", "127.0.0.1:1")

	_, err = c.Open(t.Context(), "n", a.osladdr)
	wantError(t, err, ErrMarked)
}

// While another process keeps the database locked, a host is withdrawn and announced again.
func TestWithdrawThenAnnounce(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	ctx := t.Context()
	other := bareDB(t, a.path)
	for range 20 {
		if err := a.announce(ctx, "α"); err != nil {
			t.Fatal(err)
		}
		mustExec(t, other, "BEGIN IMMEDIATE")
		before := table(t, other, "SELECT rowid FROM hosts")
		withdrawn, announced := make(chan error), make(chan error)
		go func() { withdrawn <- a.withdraw(ctx, "α") }()
		for a.owns("α") {
			time.Sleep(time.Millisecond) // until Withdraw has begun
		}
		wantQuery(t, b, "α", a.osladdr) // reading waits for nobody
		go func() { announced <- a.announce(ctx, "α") }()
		for !a.owns("α") {
			time.Sleep(time.Millisecond)
		}
		mustExec(t, other, "COMMIT")
		if err := errors.Join(<-withdrawn, <-announced); err != nil {
			t.Fatal(err)
		}
		wantQuery(t, b, "α", a.osladdr)
		if after := table(t, other, "SELECT rowid FROM hosts"); after == before {
			t.Error("a new announcement has the id of the old one")
		}
		wantError(t, b.announce(ctx, "α"), virtnet.ErrHostDup)
		if err := a.withdraw(ctx, "α"); err != nil {
			t.Fatal(err)
		}
		wantQuery(t, b, "α", "")
	}
}

// An Announce that fails while a Withdraw still tries leaves the withdrawing to it.
func TestWithdrawOutlastsAnnounce(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	other := bareDB(t, m.path)
	mustExec(t, other, "BEGIN IMMEDIATE")
	withdrawn := make(chan error)
	go func() { withdrawn <- m.withdraw(t.Context(), "α") }()
	for m.owns("α") {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantError(t, m.announce(ctx, "α"), context.DeadlineExceeded)
	mustExec(t, other, "COMMIT")
	if err := <-withdrawn; err != nil {
		t.Error(err)
	}
	wantQuery(t, m, "α", "")
}

// Many goroutines, two registries, one set of names: at any time a name is at most one registry's.
func TestConcurrent(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	members := []*member{join(t, c, "n"), join(t, c, "n")}
	var mu sync.Mutex
	owner := make(map[string]*member)
	var wg sync.WaitGroup
	for g := range 8 {
		m := members[g%2]
		wg.Go(func() {
			for i := range 60 {
				host := fmt.Sprint("h", (g/2+i)%5)
				err := m.announce(t.Context(), host)
				if errors.Is(err, virtnet.ErrHostDup) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if owner[host] != nil {
					t.Errorf("%s has two owners", host)
				}
				owner[host] = m
				mu.Unlock()
				wantQuery(t, m, host, m.osladdr)
				mu.Lock()
				owner[host] = nil
				mu.Unlock()
				if err := m.withdraw(t.Context(), host); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := table(t, bareDB(t, members[0].path), "SELECT count(*) FROM hosts"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
}

// Operations and Close at the same moment: each operation succeeds or says that the registry is down.
func TestCloseRaces(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	stays := join(t, c, "n")
	for range 50 {
		m := join(t, c, "n")
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for i := 0; ; i++ {
					host := fmt.Sprint("h", g, "-", i)
					err := m.announce(t.Context(), host)
					if err == nil && g%2 == 0 {
						_, err = m.Query(t.Context(), host)
					} else if err == nil {
						err = m.withdraw(t.Context(), host)
					}
					if err != nil {
						wantError(t, err, virtnet.ErrRegistryDown)
						return
					}
				}
			})
		}
		time.Sleep(time.Millisecond) // any moment is as good
		if err := m.leave(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	if got := table(t, bareDB(t, stays.path), "SELECT count(*) FROM hosts"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
}

func TestQueryAllocs(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(100, func() { m.Query(ctx, "α") }); n > 1 {
		t.Errorf("a query allocates %v times, want 1: its result", n)
	}
}
