package registry

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

// A program that has opened registry.db when the network is removed, and not read it, can do nothing with it, and
// nothing to who comes after it.
func TestEvictOpened(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed")
	}
	c := Config{TempDir: t.TempDir()}
	oldNetwork(t, c, "n")
	path := registryPath(filepath.Join(c.Dir(), "n"))
	var opened []*sqlite.Conn
	for range 3 {
		opened = append(opened, bareDB(t, path))
	}
	done := make(chan Swept)
	go func() {
		s, err := c.GC(t.Context(), "n", now)
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	// Nobody can make another as long as the first may still look.
	for fi, err := os.Lstat(path); err != nil || !fi.IsDir(); fi, err = os.Lstat(path) {
		if len(done) > 0 {
			t.Fatal("there was no directory in the place of the registry")
		}
	}
	if _, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate); err == nil {
		t.Error("a registry was made")
	}
	version := ""
	for end := time.Now().Add(vacant / 2); version == "" && time.Now().Before(end); {
		version, _ = (&db{conn: opened[0]}).text("SELECT value FROM meta WHERE name = 'schemaver'")
	}
	if s := <-done; !s.Removed {
		t.Errorf("got %+v", s)
	}
	if version != removedVersion {
		t.Errorf("who was first finds version %q", version)
	}
	for i, query := range []string{"INSERT INTO hosts VALUES ('α', '127.0.0.1:1')", "PRAGMA journal_mode = wal", "DROP TABLE hosts"} {
		if err := bareExec(opened[i], query); err == nil {
			t.Errorf("%s: done in a registry that was removed", query)
		}
	}
	m := join(t, c, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	for _, conn := range opened {
		conn.Close()
	}
	wantQuery(t, join(t, c, "n"), "α", m.osladdr)
	if got := peek(t, path, "PRAGMA integrity_check"); got != "ok" {
		t.Error(got)
	}
}

// A sweeper that is killed leaves something that is a network, or becomes one.
func TestEvictKilled(t *testing.T) {
	for _, test := range []struct {
		name  string
		state func(path string)
	}{
		{"before the registry goes", func(string) {}},
		{"when it has gone", func(path string) { os.Remove(path) }},
		{"with a directory in its place", func(path string) { os.Remove(path); os.Mkdir(path, 0o700) }},
	} {
		for _, next := range []string{"join", "gc"} {
			c := Config{TempDir: t.TempDir()}
			oldNetwork(t, c, "n", "PRAGMA journal_mode = delete")
			test.state(registryPath(filepath.Join(c.Dir(), "n")))
			if next == "gc" {
				if s := gc(t, c, "n", now); !s.Removed {
					t.Errorf("%s: %+v", test.name, s)
				}
				wantGone(t, c, "n")
			}
			m, other := join(t, c, "n"), join(t, c, "n")
			if err := m.announce(t.Context(), "α"); err != nil {
				t.Errorf("%s, then %s: %v", test.name, next, err)
			}
			wantQuery(t, other, "α", m.osladdr)
		}
	}
}

// Who has the turn alone holds up those who join and list, and they obey their contexts; and a sweeper, which gives up.
func TestEvictWaits(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no turns")
	}
	c := Config{TempDir: t.TempDir()}
	join(t, c, "n").leave()
	turn, err := takeTurn(t.Context(), filepath.Join(c.Dir(), "n"), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Open(ctx, "n", "127.0.0.1:1")
	wantError(t, err, context.DeadlineExceeded)
	if _, err := c.ListNetwork(ctx, "n"); err != context.DeadlineExceeded {
		t.Errorf("list: %v", err)
	}
	if s := gc(t, c, "n", now); s.Removed || !strings.Contains(s.Kept, "somebody") {
		t.Errorf("gc: %+v", s)
	}
	time.AfterFunc(10*time.Millisecond, turn.leave)
	join(t, c, "n")
}

// A new network with a random name goes with who has made it, also when it cannot be opened; not from under others.
func TestEvictUnused(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	m := join(t, c, "")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	if err := m.leave(); err != nil {
		t.Error(err)
	}
	wantGone(t, c, m.network)

	m = join(t, c, "")
	other := join(t, c, m.network)
	if err := other.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	if err := m.leave(); err != nil {
		t.Error(err)
	}
	wantQuery(t, join(t, c, m.network), "α", other.osladdr)

	m = join(t, c, "")
	notes := filepath.Join(m.dir, "notes")
	os.WriteFile(notes, nil, 0o600)
	if err := m.leave(); err != nil {
		t.Error(err)
	}
	if left := files(t, m.dir); len(left) != 1 || left[0] != notes {
		t.Errorf("left are %v", left)
	}
}

// A registry is locked against all who have read it, and by it all others.
func TestLockDB(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	for _, mode := range []string{"wal", "delete"} {
		oldNetwork(t, c, mode, "PRAGMA journal_mode = "+mode)
		path := registryPath(filepath.Join(c.Dir(), mode))
		d, err := lockDB(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lockDB(path); !busy(err) {
			t.Errorf("%s: locked twice: %v", mode, err)
		}
		other := bareDB(t, path)
		other.SetBusyTimeout(0)
		if err := bareExec(other, "SELECT * FROM hosts"); !busy(err) {
			t.Errorf("%s: read while it is locked: %v", mode, err)
		}
		if err := d.conn.Close(); err != nil {
			t.Error(err)
		}
		mustExec(t, other, "PRAGMA journal_mode = wal", "SELECT * FROM hosts")
		if _, err := lockDB(path); !busy(err) {
			t.Errorf("%s: locked while another has it open: %v", mode, err)
		}
		other.Close()
	}
}
