package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"zombiezen.com/go/sqlite"
)

// The removal of a network has to be safe against all who may come meanwhile:
//
//   - One of ours that joins has its turn until SQLite has locked the database for it. If it comes first, we are refused
//     the turn alone, or the database; if we do, it finds no network when its turn comes, and makes it.
//   - A program that knows only registry.db, and has read it, has SQLite's lock until it closes it: we are refused.
//   - One that has opened registry.db and not read it yet, most likely waiting for us to unlock it, is the one to think
//     of: the file that it has loses its name, and if there is another of that name by the time it goes on, with a -wal,
//     SQLite takes that for the log of this one. So for a moment after we have unlocked it nobody can make one:
//     not those who take turns, for we have ours alone, and not others, for a directory is in its place. It finds a
//     version that it refuses then, in a file that SQLite does not write to since it has no name: its joining fails.
//   - One that comes later makes another network. If it was there before we remove the directory, that stays.
//
// At whatever moment we are killed, what is left is a network, or a directory that the next who joins makes one.

// removedVersion is the schemaver that is written into a registry once it is removed.
const removedVersion = "lonet.1, but removed for want of use: join again"

// vacant is how long nobody can make a registry where one was removed. Programs that wait for SQLite's lock look
// every few milliseconds when they have not waited for longer.
const vacant = 50 * time.Millisecond

// evict removes the network if really nobody is there, or says why not.
func (s *sweeper) evict(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	t, err := takeTurn(limited, s.dir, true)
	switch {
	case errors.Is(err, fs.ErrNotExist): // another was faster
		s.Removed = true
		return nil
	case err != nil && limited.Err() != nil:
		s.Kept = "somebody is joining it, or removing it"
		return ctx.Err()
	case err != nil:
		return err
	}
	defer t.leave()
	if err := s.survey(); err != nil {
		return err
	}
	if s.running > 0 {
		s.Kept = "somebody has just joined it"
		return nil
	}
	if s.missing && !s.vacant && !s.remains && len(s.free) == 0 && len(s.Foreign) > 0 {
		s.Kept = "nothing in its directory is lonet's"
		return nil
	}
	if s.DryRun && s.missing {
		s.Removed = true
		return nil
	}
	if s.vacant {
		if err := os.Remove(registryPath(s.dir)); err != nil {
			return err
		}
	}
	conn, err := s.openAlone()
	if err != nil || s.Kept != "" {
		return err
	}
	if s.DryRun {
		err = closeConn(conn)
	} else {
		err = s.remove(conn)
	}
	s.Removed = err == nil && s.Kept == ""
	return err
}

// evictUnused removes a network that has its name from this process, if nobody else uses it now. Whoever was told the
// name and joins later finds it as empty as it was. It hardly waits, since nobody makes a network of that name soon.
func evictUnused(dir, network string) {
	s := sweeper{network: network, dir: dir, hurry: true}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = s.evict(ctx) // if somebody is there, or it fails, GC can do it
}

// openAlone locks the registry, see lockDB. The connection is nil if the registry cannot be read and is to be removed all
// the same.
func (s *sweeper) openAlone() (*sqlite.Conn, error) {
	d, err := lockDB(registryPath(s.dir))
	if err == nil {
		if err = s.nobodyIn(d); err == nil && s.Kept == "" {
			return d.conn, nil
		}
		err = errors.Join(err, d.conn.Close())
	}
	if busy(err) {
		s.Kept, err = "a program has its registry open", nil
	}
	if err = s.unreadable(err); !s.Force && s.spoilt != "" {
		s.Kept = s.spoilt
	}
	return nil, err
}

// lockDB opens a database, or makes it, with a lock by which nobody else can have read it, whoever it is, nor reads it
// until the connection is closed: all who have read a database in WAL mode keep it locked, as shared, until they close it.
// The error is busy if somebody does.
func lockDB(path string) (*db, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(0)
	d := &db{conn: conn}
	for _, query := range []string{`PRAGMA locking_mode = exclusive`, `BEGIN EXCLUSIVE`, `ROLLBACK`} { // the lock stays
		if _, err := d.text(query); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return d, nil
}

// nobodyIn looks whether there is a row that was not judged.
func (s *sweeper) nobodyIn(d *db) error {
	rows, err := s.rows(d)
	if s.Force && errors.Is(err, errMismatch) {
		return nil
	}
	for _, row := range rows {
		if !s.stale[row.id] {
			s.Kept = fmt.Sprintf("host %q has just come", row.Name)
		}
	}
	return err
}

// remove removes the network. conn is nil if there is no registry, or none that can be read.
func (s *sweeper) remove(conn *sqlite.Conn) error {
	for _, port := range s.free {
		m, _, err := lockMark(markPath(s.dir, port), os.O_RDWR)
		if err == nil && m == nil {
			s.Kept = "somebody has just joined it"
		}
		if m != nil {
			err = m.remove()
		}
		if err != nil || s.Kept != "" {
			return errors.Join(err, closeConn(conn))
		}
		s.Marks = append(s.Marks, filepath.Base(m.path))
	}
	if err := s.unlink(conn); err != nil {
		return err
	}
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unlink removes the registry's files and closes conn.
func (s *sweeper) unlink(conn *sqlite.Conn) error {
	path := registryPath(s.dir)
	d := &db{conn: conn}
	if conn != nil {
		// What is in the log goes into the database, the log goes away, and the database is not in WAL mode any more.
		if err := d.pragma(`PRAGMA journal_mode = memory`, "memory"); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	if err := discardCompanions(path); err != nil {
		return errors.Join(err, closeConn(conn))
	}
	if runtime.GOOS == "windows" { // a file that anybody has open cannot be removed
		return errors.Join(closeConn(conn), removeFile(path))
	}
	if err := removeFile(path); err != nil {
		return errors.Join(err, closeConn(conn))
	}
	held := s.hurry || os.Mkdir(path, 0o700) != nil // or somebody has been very fast
	if conn != nil {
		_, _ = d.exec(`UPDATE meta SET value = ? WHERE name = 'schemaver'`, removedVersion) // if there is a meta
	}
	err := closeConn(conn)
	if !held {
		time.Sleep(vacant)
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func closeConn(conn *sqlite.Conn) error {
	if conn == nil {
		return nil
	}
	return conn.Close()
}
