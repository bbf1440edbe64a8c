package registry

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
)

func TestDamaged(t *testing.T) {
	for _, test := range []struct {
		err            error
		damaged, amiss bool
	}{
		{nil, false, false},
		{errors.New("x"), false, false},
		{sqlite.ResultBusy.ToError(), false, false},
		{sqlite.ResultFull.ToError(), false, false},
		{sqlite.ResultConstraint.ToError(), false, false},
		{sqlite.ResultCorrupt.ToError(), true, true},
		{sqlite.ResultNotADB.ToError(), true, true},
		{fmt.Errorf("wrapped: %w", sqlite.ResultNotADB.ToError()), true, true},
		{sqlite.ResultIOErrShortRead.ToError(), true, true},
		{&malformedError{"x"}, true, true},
		{sqlite.ResultIOErrWrite.ToError(), false, true},
		{sqlite.ResultCantOpen.ToError(), false, true},
		{sqlite.ResultReadOnly.ToError(), false, true},
		{errIncomplete, false, true},
		{errMismatch, false, false},
	} {
		if d, a := damaged(test.err), amiss(test.err); d != test.damaged || a != test.amiss {
			t.Errorf("%v: damaged %v, amiss %v; want %v, %v", test.err, d, a, test.damaged, test.amiss)
		}
	}
}

// A row that only an index knows is found.
func TestCheckAll(t *testing.T) {
	d, err := openDB(t.Context(), filepath.Join(t.TempDir(), "registry.db"), "n", true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.conn.Close()
	for i := range 10 {
		if _, err := d.insert(fmt.Sprint("h", i), "127.0.0.1:1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.checkAll(t.Context()); err != nil {
		t.Errorf("a sound database: %v", err)
	}
	// The index is of other rows than the table.
	mustExec(t, d.conn, "PRAGMA writable_schema = on",
		"CREATE TABLE other (hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL)",
		"UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_other_1') WHERE name = 'sqlite_autoindex_hosts_1'")
	path := d.text
	name, err := path("SELECT file FROM pragma_database_list")
	if err != nil {
		t.Fatal(err)
	}
	again, err := openDB(t.Context(), name, "n", false)
	if err != nil {
		t.Fatal(err)
	}
	defer again.conn.Close()
	if err := again.checkAll(t.Context()); !damaged(err) {
		t.Errorf("got %v, want that it is damaged", err)
	}
}
