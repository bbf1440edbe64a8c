package registry

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The ids of announcements come from the system's clock, which may stand anywhere and jump. In a bubble it does as the
// test likes: it begins in the year 2000, and stands still.

// clockDB opens a new registry in a bubble.
func clockDB(t *testing.T) *db {
	t.Helper()
	d, err := openDB(t.Context(), filepath.Join(t.TempDir(), "registry.db"), "n", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.conn.Close() })
	return d
}

// Where ids are taken already another is found, for a new row and for one that is replaced.
func TestIDTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := clockDB(t)
		// One in 256 ids of the present millisecond.
		_, err := d.exec(`WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 256 FROM c WHERE i + 256 < 1 << 20)
			INSERT INTO hosts (rowid, hostname, osladdr) SELECT ? + i, 'h' || i, '127.0.0.1:9' FROM c`, time.Now().UnixMilli()<<20)
		if err != nil {
			t.Fatal(err)
		}
		taken := 0
		tried := 0
		for i := 0; taken < 3 && i < 20000; i++ {
			tried += 2
			host := fmt.Sprint("new", i)
			for done := false; !done; {
				if done, err = d.insert(host, "127.0.0.1:1"); err != nil {
					t.Fatal(err)
				}
				if !done {
					taken++
				}
			}
			old, found, err := d.row(host)
			if !found || err != nil {
				t.Fatalf("%s: %v, %v", host, found, err)
			}
			for done := false; !done; {
				if done, err = d.replace(host, old, "127.0.0.1:2"); err != nil {
					t.Fatal(err)
				}
				if !done {
					taken++
				}
			}
			if got, _, _ := d.row(host); got.osladdr != "127.0.0.1:2" || got.id == old.id {
				t.Errorf("%s was replaced by %v, before it was %v", host, got, old)
			}
		}
		if taken == 0 {
			t.Error("no id was taken")
		}
		t.Logf("%d of %d ids were taken", taken, taken+tried)
	})
}

// Rows can be made, replaced, found and removed at any time, whatever times others were made at.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := clockDB(t)
		all := 0
		step := func() {
			t.Helper()
			name := time.Now().Format("2006")
			for i := range 3 {
				host := fmt.Sprint(name, "-", i)
				if done, err := d.insert(host, "127.0.0.1:1"); !done || err != nil {
					t.Errorf("%s: insert: %v, %v", host, done, err)
				}
				old, found, err := d.row(host)
				if !found || err != nil {
					t.Errorf("%s: row: %v, %v", host, found, err)
				}
				if done, err := d.replace(host, old, "127.0.0.1:2"); !done || err != nil {
					t.Errorf("%s: replace: %v, %v", host, done, err)
				}
				if done, err := d.replace(host, old, "127.0.0.1:3"); done || err != nil {
					t.Errorf("%s: what is not there any more is replaced: %v, %v", host, done, err)
				}
			}
			all += 3
			// A program that knows nothing of ids has SQLite choose them.
			if _, err := d.exec(`INSERT INTO hosts VALUES (?, '127.0.0.1:2')`, name); err != nil {
				t.Errorf("%s: a row without id: %v", name, err)
			}
			all++
			if n, err := d.exec(`UPDATE hosts SET osladdr = osladdr WHERE osladdr = '127.0.0.1:2'`); n != all || err != nil {
				t.Errorf("%s: there are %d rows, %v, want %d", name, n, err, all)
			}
		}
		for _, year := range []int{2000, 2026, 2248, 2249, 2260} { // in 2248 ids become negative; a bubble's time ends in 2262
			for now := time.Now().Year(); now < year; now = time.Now().Year() {
				time.Sleep(time.Duration(min(year-now, 200)) * 365 * 25 * time.Hour)
			}
			step()
		}
		for i, id := range []int64{0, -1, 1, -1 << 63, 1<<63 - 1} { // of clocks that stood elsewhere
			host := fmt.Sprint("id", i)
			if _, err := d.exec(insertRow, id, host, "127.0.0.1:2"); err != nil {
				t.Fatal(err)
			}
			all++
			old, found, err := d.row(host)
			if !found || err != nil || old.id != id {
				t.Errorf("%d: row: %v, %v, %v", id, old, found, err)
			}
			if done, err := d.replace(host, old, "127.0.0.1:2"); !done || err != nil {
				t.Errorf("%d: replace: %v, %v", id, done, err)
			}
		}
		if _, err := d.exec(insertRow, int64(1<<63-1), "last", "127.0.0.1:2"); err != nil {
			t.Fatal(err)
		}
		all++
		time.Sleep(365 * 25 * time.Hour)
		step()
	})
}
