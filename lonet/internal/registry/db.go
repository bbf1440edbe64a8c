package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"zombiezen.com/go/sqlite"
)

// schemaVersion is the value of meta's schemaver.
const schemaVersion = "lonet.1"

// The schema, letter by letter as existing registries have it: "NON NULL" is part of the type's name to SQLite
// and forbids nothing, so rows may hold NULL.
const (
	createHosts = `CREATE TABLE IF NOT EXISTS hosts ( hostname TEXT NON NULL PRIMARY KEY, osladdr TEXT NON NULL )`
	createMeta  = `CREATE TABLE IF NOT EXISTS meta ( name TEXT NON NULL PRIMARY KEY, value TEXT NON NULL )`
	insertMeta  = `INSERT OR IGNORE INTO meta (name, value) VALUES ('schemaver', ?), ('network', ?)`
	selectMeta  = `SELECT name, value FROM meta WHERE name IN ('schemaver', 'network')`
)

const (
	selectAddr   = `SELECT osladdr FROM hosts WHERE hostname = ?`
	selectRow    = `SELECT rowid, osladdr FROM hosts WHERE hostname = ?`
	selectRows   = `SELECT rowid, hostname, osladdr FROM hosts ORDER BY hostname`
	selectOther  = `SELECT name FROM sqlite_schema WHERE name NOT IN ('hosts', 'meta') AND name NOT LIKE 'sqlite_%' LIMIT 1`
	selectHosts  = `SELECT hostname FROM hosts WHERE osladdr = ?`
	insertRow    = `INSERT INTO hosts (rowid, hostname, osladdr) VALUES (?, ?, ?)`
	replaceRow   = `UPDATE hosts SET rowid = ?, osladdr = ? WHERE hostname = ? AND rowid = ? AND osladdr = ?`
	deleteRow    = `DELETE FROM hosts WHERE hostname = ? AND osladdr = ?`
	deleteRowsAt = `DELETE FROM hosts WHERE osladdr = ?`

	deleteExactly = `DELETE FROM hosts WHERE hostname = ? AND rowid = ? AND osladdr = ?`
)

// db is one connection to a registry. Its methods are single tries: none of them waits, and each may fail with an
// error that is busy. They are not safe for concurrent use.
type db struct {
	conn   *sqlite.Conn
	lookup *sqlite.Stmt // selectAddr, the one statement whose speed matters
}

// A row is what the registry holds for a host.
type row struct {
	// id is SQLite's rowid, here the announcement's: new with every one, so that a verdict about an earlier
	// announcement of the same name from the same address cannot touch a later one.
	id      int64
	osladdr string
}

// newID returns an id that no other announcement has, but once in a million of the same millisecond. Ids grow with time
// because SQLite is twice as fast at adding rows at the end of a table.
func newID() int64 { return time.Now().UnixMilli()<<20 | rand.Int64N(1<<20) }

// openDB opens the registry of the network, and makes what is missing if create is set.
func openDB(ctx context.Context, path, network string, create bool) (*db, error) {
	flags := sqlite.OpenReadWrite
	if create {
		flags |= sqlite.OpenCreate
	}
	conn, err := sqlite.OpenConn(path, flags)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(0)
	d := &db{conn: conn}
	for n := 0; ; n++ {
		if err = d.setup(network, create); !busy(err) {
			break
		}
		if err = sleep(ctx, nil, backoff(n)); err != nil {
			break
		}
	}
	if err != nil {
		conn.Close()
		return nil, explain(err)
	}
	return d, nil
}

// setup is one try to make the connection ready. Every step may be done again.
func (d *db) setup(network string, create bool) error {
	// Only a crash of the operating system could hurt a registry that is not synced, and nobody survives that.
	if err := d.pragma(`PRAGMA synchronous = OFF`, ""); err != nil {
		return err
	}
	// To look first keeps the usual case, a network that is there, from writing, and one of another version
	// from being touched.
	err := d.check(network)
	missing := errors.Is(err, errIncomplete) && create
	if err != nil && !missing {
		return err
	}
	if create {
		if err := d.pragma(`PRAGMA journal_mode = wal`, "wal"); err != nil {
			return err
		}
	}
	if !missing {
		return nil
	}
	if err := d.create(network); err != nil {
		return err
	}
	return d.check(network)
}

var errIncomplete = errors.New("not a lonet registry: tables or their description are missing")

// errMismatch is what each *mismatchError is.
var errMismatch = errors.New("mismatch")

// A mismatchError says that a registry is another than the one wanted.
type mismatchError struct{ what, want, have string }

func (e *mismatchError) Error() string {
	return fmt.Sprintf("%s mismatch: want %q; have %q", e.what, e.want, e.have)
}

func (e *mismatchError) Unwrap() error { return errMismatch }

// check reads whether this is the registry of the network, in the version that we speak.
func (d *db) check(network string) error {
	stmt, _, err := d.conn.PrepareTransient(selectMeta)
	if err != nil {
		return noTable(err)
	}
	defer stmt.Finalize()
	meta := make(map[string]string, 2)
	for {
		more, err := stmt.Step()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		meta[stmt.ColumnText(0)] = stmt.ColumnText(1)
	}
	if v, ok := meta["schemaver"]; ok && v != schemaVersion {
		return &mismatchError{"schema version", schemaVersion, v}
	}
	if v, ok := meta["network"]; ok && v != network {
		return &mismatchError{"network name", network, v}
	}
	if len(meta) < 2 {
		return errIncomplete
	}
	d.lookup, err = d.conn.Prepare(selectAddr)
	return noTable(err)
}

// noTable turns what SQLite says of a statement that it cannot compile into errIncomplete: the statements are
// right, so the tables are not there.
func noTable(err error) error {
	if err != nil && sqlite.ErrCode(err) == sqlite.ResultError {
		return fmt.Errorf("%w (%w)", errIncomplete, err)
	}
	return err
}

// create makes the tables and their description where they are missing, all or nothing.
func (d *db) create(network string) (err error) {
	if _, err := d.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.exec(`ROLLBACK`)
		}
	}()
	if _, err := d.exec(createHosts); err != nil {
		return err
	}
	if _, err := d.exec(createMeta); err != nil {
		return err
	}
	if _, err := d.exec(insertMeta, schemaVersion, network); err != nil {
		return err
	}
	_, err = d.exec(`COMMIT`)
	return err
}

// pragma runs a pragma, whose answer must be want if that is not empty.
func (d *db) pragma(query, want string) error {
	got, err := d.text(query)
	if err == nil && want != "" && got != want {
		return fmt.Errorf("%s: the answer is %q", query, got)
	}
	return err
}

// text returns the first column of the first row of what a query without arguments answers, "" if that is nothing.
func (d *db) text(query string) (string, error) {
	stmt, _, err := d.conn.PrepareTransient(query)
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	answered, err := stmt.Step()
	if !answered || err != nil {
		return "", err
	}
	return stmt.ColumnText(0), nil
}

// exec runs a statement that returns no rows, with arguments that are strings or int64s, and returns how
// many rows it changed.
func (d *db) exec(query string, args ...any) (changes int, _ error) {
	stmt, err := d.prepare(query, args...)
	if err != nil {
		return 0, err
	}
	if _, err := stmt.Step(); err != nil {
		return 0, noTable(err)
	}
	return d.conn.Changes(), nil
}

func (d *db) prepare(query string, args ...any) (*sqlite.Stmt, error) {
	stmt, err := d.conn.Prepare(query)
	if err != nil {
		return nil, noTable(err)
	}
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			stmt.BindText(i+1, v)
		case int64:
			stmt.BindInt64(i+1, v)
		}
	}
	return stmt, nil
}

// addr returns the address of a host.
func (d *db) addr(host string) (osladdr string, found bool, _ error) {
	d.lookup.BindText(1, host)
	found, err := d.lookup.Step()
	if found {
		osladdr = d.lookup.ColumnText(0)
	}
	if err := errors.Join(err, d.lookup.Reset()); err != nil {
		return "", false, noTable(err)
	}
	return osladdr, found, nil
}

// row returns the row of a host.
func (d *db) row(host string) (_ row, found bool, _ error) {
	stmt, err := d.prepare(selectRow, host)
	if err != nil {
		return row{}, false, err
	}
	defer stmt.Reset()
	found, err = stmt.Step()
	if !found || err != nil {
		return row{}, false, noTable(err)
	}
	return row{stmt.ColumnInt64(0), stmt.ColumnText(1)}, true, nil
}

// An entry is a row with all that is in it.
type entry struct {
	id int64
	Host
}

// entries returns all rows, sorted by the hosts' names.
func (d *db) entries() (rows []entry, _ error) {
	stmt, err := d.prepare(selectRows)
	if err != nil {
		return nil, err
	}
	defer stmt.Reset()
	for {
		more, err := stmt.Step()
		if !more || err != nil {
			return rows, noTable(err)
		}
		rows = append(rows, entry{stmt.ColumnInt64(0), Host{Name: stmt.ColumnText(1), OSLAddr: stmt.ColumnText(2)}})
	}
}

// insert makes a row for a host that has none, and tells whether it did.
func (d *db) insert(host, osladdr string) (bool, error) {
	_, err := d.exec(insertRow, newID(), host, osladdr)
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint {
		return false, nil
	}
	return err == nil, err
}

// replace puts osladdr, and a new id, in place of exactly the row old, and tells whether that was still there.
func (d *db) replace(host string, old row, osladdr string) (bool, error) {
	changes, err := d.exec(replaceRow, newID(), osladdr, host, old.id, old.osladdr)
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint { // the id is another row's
		return false, nil
	}
	return changes == 1, err
}

// hostsAt returns the names of the hosts with the address.
func (d *db) hostsAt(osladdr string) (hosts []string, _ error) {
	stmt, err := d.prepare(selectHosts, osladdr)
	if err != nil {
		return nil, err
	}
	defer stmt.Reset()
	for {
		more, err := stmt.Step()
		if !more || err != nil {
			return hosts, noTable(err)
		}
		hosts = append(hosts, stmt.ColumnText(0))
	}
}

// explain adds to an error of SQLite what the user can do about it.
func explain(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: the file is damaged; remove the network's directory, which those who are on it make anew", err)
	}
	return err
}
