package registry

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
)

// bareDB opens a database as another program would, with what the tests need to look at it.
func bareDB(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustExec(t testing.TB, conn *sqlite.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if err := bareExec(conn, q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// table returns all rows of a query, columns separated by "|" and rows by " ".
func table(t testing.TB, conn *sqlite.Conn, query string) string {
	t.Helper()
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Finalize()
	var rows []string
	for {
		more, err := stmt.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return strings.Join(rows, " ")
		}
		var cols []string
		for i := range stmt.ColumnCount() {
			cols = append(cols, stmt.ColumnText(i))
		}
		rows = append(rows, strings.Join(cols, "|"))
	}
}

func TestSchema(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "α")
	conn := bareDB(t, m.path)
	want := "CREATE TABLE hosts ( hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL ) " +
		"CREATE TABLE meta ( name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL )"
	if got := table(t, conn, "SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name"); got != want {
		t.Errorf("tables: got\n%s\nwant\n%s", got, want)
	}
	if got, want := table(t, conn, "SELECT * FROM meta ORDER BY name"), "network|α schemaver|lonet.1"; got != want {
		t.Errorf("meta: got %q, want %q", got, want)
	}
	if got := table(t, conn, "PRAGMA journal_mode"); got != "wal" {
		t.Errorf("journal mode: %q", got)
	}
}

// oldNetwork makes a network as the programs before us made it.
func oldNetwork(t testing.TB, c Config, network string, more ...string) {
	t.Helper()
	dir := filepath.Join(c.Dir(), network)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conn := bareDB(t, registryPath(dir))
	mustExec(t, conn, "PRAGMA journal_mode = wal", createHosts, createMeta,
		"INSERT INTO meta VALUES ('schemaver', 'lonet.1'), ('network', '"+network+"')")
	mustExec(t, conn, more...)
	conn.Close()
}

func TestOpenExisting(t *testing.T) {
	for _, test := range []struct {
		name   string
		change []string
		want   string // the error's end, empty for success
	}{
		{"as it was", nil, ""},
		{"not in WAL mode", []string{"PRAGMA journal_mode = delete"}, ""},
		{"half made", []string{"DROP TABLE hosts", "DELETE FROM meta WHERE name = 'network'"}, ""},
		{"empty", []string{"DROP TABLE hosts", "DROP TABLE meta"}, ""},
		{"with more", []string{"CREATE TABLE netem (rule)", "INSERT INTO meta VALUES ('x', 'y')"}, ""},
		{"later version", []string{"UPDATE meta SET value = 'lonet.2' WHERE name = 'schemaver'"},
			`registry.db: open ["sq1"]: schema version mismatch: want "lonet.1"; have "lonet.2"`},
		{"other network", []string{"UPDATE meta SET value = 'zz' WHERE name = 'network'"},
			`registry.db: open ["sq1"]: network name mismatch: want "sq1"; have "zz"`},
		{"NULL", []string{"UPDATE meta SET value = NULL WHERE name = 'network'"},
			`network name mismatch: want "sq1"; have ""`},
		{"other table", []string{"DROP TABLE hosts", "CREATE TABLE hosts (x)"},
			`no such column: osladdr)`},
	} {
		c := Config{TempDir: t.TempDir()}
		oldNetwork(t, c, "sq1", test.change...)
		r, err := c.Open(t.Context(), "sq1", "127.0.0.1:1")
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if err := r.Announce(t.Context(), "α", "127.0.0.1:1"); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		} else if err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want %s", test.name, err, test.want)
		}
	}
}

// A network that we do not speak is refused without a change.
func TestRefusedUntouched(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	oldNetwork(t, c, "n", "UPDATE meta SET value = 'lonet.2' WHERE name = 'schemaver'", "PRAGMA journal_mode = delete")
	path := registryPath(filepath.Join(c.Dir(), "n"))
	before, _ := os.ReadFile(path)
	if _, err := c.Open(t.Context(), "n", "127.0.0.1:1"); err == nil {
		t.Fatal("opened")
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the database has changed")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files were left: %v", entries)
	}
}

// A verdict about one announcement does not touch the next, of the same name from the same address.
func TestReplaceExactly(t *testing.T) {
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	d := m.db
	for _, step := range []string{"first", "second"} {
		if done, err := d.insert("α", "127.0.0.1:1"); !done || err != nil {
			t.Fatalf("%s insert: %v, %v", step, done, err)
		}
		if done, err := d.insert("α", "127.0.0.1:2"); done || err != nil {
			t.Fatalf("insert over it: %v, %v", done, err)
		}
		old, found, err := d.row("α")
		if !found || err != nil || old.osladdr != "127.0.0.1:1" {
			t.Fatalf("row: %v, %v, %v", old, found, err)
		}
		if _, err := d.exec(deleteRow, "α", "127.0.0.1:1"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.insert("α", "127.0.0.1:1"); err != nil {
			t.Fatal(err)
		}
		if done, err := d.replace("α", old, "127.0.0.1:2"); done || err != nil {
			t.Errorf("%s: replaced a later row: %v, %v", step, done, err)
		}
		now, _, _ := d.row("α")
		if done, err := d.replace("α", now, "127.0.0.1:2"); !done || err != nil {
			t.Errorf("%s: not replaced: %v, %v", step, done, err)
		}
		if _, err := d.exec(deleteRow, "α", "127.0.0.1:2"); err != nil {
			t.Fatal(err)
		}
	}
	if _, found, err := d.row("α"); found || err != nil {
		t.Errorf("row of nobody: %v, %v", found, err)
	}
}

// A program that knows the two tables and no more works on the database, beside us.
func TestSqlite3CLI(t *testing.T) {
	cli, err := exec.LookPath("sqlite3")
	if err != nil {
		missing(t, "sqlite3")
	}
	m := join(t, Config{TempDir: t.TempDir()}, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	run := func(query string) (string, error) {
		out, err := exec.CommandContext(t.Context(), cli, m.path, query).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if got, err := run("SELECT * FROM hosts"); got != "α|"+m.osladdr || err != nil {
		t.Errorf("select: %s, %v", got, err)
	}
	if got, err := run("INSERT INTO hosts VALUES ('β', '127.0.0.1:9')"); err != nil {
		t.Errorf("insert: %s, %v", got, err)
	}
	if got, err := m.Query(t.Context(), "β"); got != "127.0.0.1:9" {
		t.Errorf("query of what it wrote: %q, %v", got, err)
	}
	if got, err := run("INSERT INTO hosts (hostname, osladdr) VALUES ('α', '127.0.0.1:9')"); err == nil || !strings.Contains(got, "UNIQUE constraint failed") {
		t.Errorf("insert of our host: %s, %v", got, err)
	}
	if got, err := run("VACUUM"); err != nil {
		t.Errorf("vacuum: %s, %v", got, err)
	}
	if err := m.withdraw(t.Context(), "α"); err != nil {
		t.Error(err)
	}
	if got, err := run("PRAGMA integrity_check; SELECT hostname FROM hosts"); got != "ok\nβ" || err != nil {
		t.Errorf("after all: %s, %v", got, err)
	}
	// What the CLI makes, we open.
	c := Config{TempDir: t.TempDir()}
	dir := filepath.Join(c.Dir(), "old")
	os.MkdirAll(dir, 0o700)
	script := createHosts + ";" + createMeta + "; PRAGMA journal_mode = wal; INSERT INTO meta VALUES ('schemaver', 'lonet.1'), ('network', 'old')"
	if out, err := exec.CommandContext(t.Context(), cli, registryPath(dir), script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	join(t, c, "old")
}

func TestErrIncomplete(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	oldNetwork(t, c, "n", "DROP TABLE meta")
	if _, err := c.ListNetwork(t.Context(), "n"); !errors.Is(err, errIncomplete) {
		t.Errorf("got %v", err)
	}
}
