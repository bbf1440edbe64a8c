package registry

import (
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
)

// SQLite from 3.7.0 to 3.51.2 may corrupt a WAL database when two connections write and checkpoint at once, which is
// what processes of a network do. The driver asks for an older one than go.mod does.
func TestSQLiteVersion(t *testing.T) {
	conn, err := sqlite.OpenConn(filepath.Join(t.TempDir(), "v.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stmt, err := conn.Prepare(`SELECT sqlite_version() >= '3.51.3', sqlite_version()`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stmt.Step(); err != nil {
		t.Fatal(err)
	}
	if stmt.ColumnInt(0) != 1 {
		t.Errorf("SQLite is %s: require a newer modernc.org/sqlite in go.mod", stmt.ColumnText(1))
	}
	if err := stmt.Reset(); err != nil {
		t.Fatal(err)
	}
}
