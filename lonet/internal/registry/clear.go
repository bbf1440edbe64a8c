package registry

import (
	"errors"
	"io/fs"
	"os"
)

// clear removes, before the database is opened, files that do not belong together: SQLite would take them for one. It
// makes registry.db, empty, where there is none, and returns which file it is: that is what SQLite opens.
func (r *Registry) clear(old *session, how trust, alone bool) (db fs.FileInfo, _ error) {
	db, err := statFile(r.path)
	if err != nil {
		return nil, err
	}
	isDir := db != nil && db.IsDir()
	unmade := db == nil || isDir || db.Size() == 0
	switch {
	case unmade && !alone:
		return nil, errNotAlone
	case !unmade && old == nil:
		return db, nil
	case isDir: // see evict; who removed the network was killed
		err = os.Remove(r.path)
	default:
		err = r.clearMixed(old, how)
	}
	if err != nil {
		return nil, err
	}
	return touch(r.path)
}

// clearMixed removes files of different registries, and one that is spoilt.
func (r *Registry) clearMixed(old *session, how trust) error {
	now, err := statRegistry(r.path)
	if err != nil {
		return err
	}
	rest := now.wal != nil || now.shm != nil
	switch {
	case now.db == nil && rest:
		return clearRest(r.path)
	case now.db != nil && now.db.Size() == 0 && rest: // it was cut off
		return discard(r.path)
	case now.db == nil || old == nil:
	case sameFile(now.db, old.files.db):
		if how == spoilt || !old.files.sameRegistry(now) { // what is missing beside it held rows, and may have held tables
			return discard(r.path)
		}
	case old.files.companionOf(now): // another has come in the place of ours, whose log is not its own
		return discardCompanions(r.path)
	}
	return nil
}

// clearRest removes what is left beside a registry.db that is gone: others may have it open, and a new database would
// share it with them. The new one is made and locked first, for a program without turns may be making one just now.
func clearRest(path string) error {
	d, err := lockDB(path)
	if busy(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pages, err := d.text(`PRAGMA page_count`)
	if err == nil && pages == "0" {
		err = discardCompanions(path)
	}
	return errors.Join(err, d.conn.Close())
}

// touch returns which file is at path, and makes it if there is none.
func touch(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return fi, err
	}
	// It is not opened if it is there by now.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Lstat(path)
}
