package registry

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"zombiezen.com/go/sqlite"
)

// malformedError says what is wrong with a database that SQLite opens all the same.
type malformedError struct{ what string }

func (e *malformedError) Error() string { return "the database is malformed: " + e.what }

// damaged tells whether an error says that the database itself is spoilt: there is nothing to be had from it any more.
func damaged(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := err.(*malformedError); ok {
		return true
	}
	code := sqlite.ErrCode(err)
	return code.ToPrimary() == sqlite.ResultCorrupt || code.ToPrimary() == sqlite.ResultNotADB ||
		code == sqlite.ResultIOErrShortRead // a file is not as long as another says
}

// amiss tells whether an error may come from files that were damaged, removed, or replaced.
func amiss(err error) bool {
	if err == nil {
		return false
	}
	if damaged(err) || errors.Is(err, errIncomplete) {
		return true
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultIOErr, sqlite.ResultCantOpen, sqlite.ResultReadOnly:
		return true
	}
	return false
}

// checkAll looks through the whole database. SQLite's quick_check would not do: it does not see rows that only an index
// knows.
func (d *db) checkAll(ctx context.Context) error {
	for n := 0; ; n++ {
		what, err := d.text(`PRAGMA integrity_check(1)`)
		if err == nil && what != "ok" {
			return &malformedError{what}
		}
		if !busy(err) {
			return err
		}
		if err := sleep(ctx, nil, backoff(n)); err != nil {
			return err
		}
	}
}

// A stamp shows that the content of a file has changed.
type stamp struct {
	size    int64
	changed time.Time
}

func stampOf(fi fs.FileInfo) stamp {
	if fi == nil {
		return stamp{}
	}
	return stamp{fi.Size(), fi.ModTime()}
}
