package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
)

// GC has the settings of [Config.GC].
type GC struct {
	// DryRun finds out everything and removes nothing. SQLite may still tidy up its own files.
	DryRun bool
	// Force also removes a network whose registry cannot be read, or has rows that cannot be judged, unless a mark says
	// that somebody is on it.
	Force bool
	// MinAge is how long a network without marks must not have been used to be removed: programs without marks cannot
	// be seen between their joining and their first host. 0 means a minute, negative that it does not matter.
	MinAge time.Duration
}

func (g GC) minAge() time.Duration {
	if g.MinAge == 0 {
		return time.Minute
	}
	return g.MinAge
}

// Swept is what [Config.GC] has removed of a network, or would.
type Swept struct {
	Dir     string
	Rows    []Host   // of hosts whose process is gone
	Marks   []string // file names, of processes that are gone
	Removed bool     // the network is
	Kept    string   // why it is not
	Foreign []string // names of files in its directory that are not lonet's; the directory stays then
}

// turnWait is how long GC waits for its turn at a directory. Turns take a millisecond.
const turnWait = 100 * time.Millisecond

// GC removes what dead processes have left of a network, and the network if nobody uses it. It may be called at any
// time, by several at once. A network that is not there is an error that is fs.ErrNotExist.
//
// A row is judged as by who wants its name, so this takes a second for each process that is silent. Processes that join
// meanwhile are safe: they are on the network after it, or on a new one, with all others.
func (c Config) GC(ctx context.Context, network string, how GC) (Swept, error) {
	if err := cmp.Or(ctx.Err(), checkName(network)); err != nil {
		return Swept{}, err
	}
	dir := filepath.Join(c.Dir(), network)
	s := sweeper{
		GC:      how,
		Swept:   Swept{Dir: dir},
		network: network,
		dir:     dir,
		judge:   judge{dir, askOnce(c.Probe), ctx},
		stale:   make(map[int64]bool),
	}
	err := s.run(ctx)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return s.Swept, err
}

// A sweeper is one run of GC at one network.
type sweeper struct {
	GC
	Swept
	network string
	dir     string
	judge   judge
	hurry   bool // do not wait for programs that know only registry.db

	stale   map[int64]bool // rows that were judged dead, by their ids
	free    []uint16       // ports whose marks are nobody's
	running int            // how many marks are held
	alive   string         // a host whose process may be alive, and why the network is kept for it
	missing bool           // there is no registry.db
	remains bool           // there is something of SQLite's beside registry.db
	vacant  bool           // there is a directory in its place: somebody is removing the network, or was killed then
	spoilt  string         // that and why it cannot be read
}

func (s *sweeper) run(ctx context.Context) error {
	fi, err := checkNetwork(s.dir)
	if err != nil {
		return err
	}
	if err := s.survey(); err != nil {
		return err
	}
	// A time that is to come, since the clock was put back, says nothing.
	if age := time.Since(s.lastUse(fi)).Abs(); s.running == 0 && len(s.free) == 0 && age < s.minAge() {
		s.Kept = fmt.Sprintf("it was used less than %v ago", s.minAge())
		return nil
	}
	if s.running == 0 {
		defer keepTime(s.dir, fi)
	}
	if err := s.tidy(ctx); err != nil {
		return err
	}
	switch {
	case s.spoilt != "" && !s.Force:
		s.Kept = s.spoilt
	case s.running > 0:
		s.Kept = fmt.Sprintf("%d processes are on it", s.running)
		if s.running == 1 {
			s.Kept = "1 process is on it"
		}
	case s.alive != "":
		s.Kept = s.alive
	default:
		return s.evict(ctx)
	}
	return nil
}

// survey looks what is in the directory.
func (s *sweeper) survey() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.missing, s.vacant, s.remains, s.free, s.running, s.Foreign = true, false, false, nil, 0, nil
	for _, e := range entries {
		port, isMark := markPort(e.Name())
		switch {
		case e.Name() == "registry.db" && e.IsDir():
			s.vacant = true
		case !e.Type().IsRegular():
			s.Foreign = append(s.Foreign, e.Name())
		case isMark:
			state, err := checkMark(markPath(s.dir, port))
			if err != nil {
				return err
			}
			if state == Running {
				s.running++
			} else if state == Gone {
				s.free = append(s.free, port)
			}
		case e.Name() == "registry.db":
			s.missing = false
		case slices.Contains([]string{"registry.db-wal", "registry.db-shm", "registry.db-journal"}, e.Name()):
			s.remains = true
		default:
			s.Foreign = append(s.Foreign, e.Name())
		}
	}
	return nil
}

// lastUse returns when somebody last came to the network, wrote to its registry, or left.
func (s *sweeper) lastUse(dir fs.FileInfo) time.Time {
	last := dir.ModTime()
	if fi, err := os.Lstat(registryPath(s.dir)); err == nil && fi.ModTime().After(last) {
		last = fi.ModTime()
	}
	return last
}

// keepTime gives a directory the time of change that it had before SQLite, for reading, made files in it and removed
// them: it says when the network was last used.
func keepTime(dir string, was fs.FileInfo) { _ = os.Chtimes(dir, time.Time{}, was.ModTime()) }

// tidy removes rows and marks of processes that are gone.
func (s *sweeper) tidy(ctx context.Context) error {
	if !s.missing {
		if err := s.tidyRows(ctx); err != nil || s.spoilt != "" && !s.Force {
			return err
		}
	}
	for _, port := range s.free {
		if !s.DryRun {
			m, _, err := lockMark(markPath(s.dir, port), os.O_RDWR)
			if err != nil {
				return err
			}
			if m == nil {
				continue
			}
			if err := m.remove(); err != nil {
				return err
			}
		}
		s.Marks = append(s.Marks, filepath.Base(markPath(s.dir, port)))
	}
	return nil
}

// tidyRows removes rows of processes that are gone, and remembers a host of one that may not be.
func (s *sweeper) tidyRows(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	t, err := takeTurn(limited, s.dir, false)
	if err != nil && limited.Err() != nil {
		s.alive = "somebody is making or removing its registry"
		return nil
	}
	if err != nil {
		return err
	}
	var conn *sqlite.Conn
	if _, err = os.Lstat(registryPath(s.dir)); err == nil { // nobody can have removed it since
		conn, err = sqlite.OpenConn(registryPath(s.dir), sqlite.OpenReadWrite)
	}
	if err != nil {
		t.leave()
		return err
	}
	defer conn.Close()
	conn.SetBusyTimeout(0)
	d := &db{conn: conn}
	var rows []entry
	err = retry(ctx, func() (err error) { rows, err = s.rows(d); return err })
	t.leave() // SQLite has the files open, and locked
	for _, row := range rows {
		if err == nil {
			err = s.tidyRow(ctx, d, row)
		}
	}
	return s.unreadable(err)
}

// rows returns the rows of the registry. One that was not made to its end has none.
func (s *sweeper) rows(d *db) ([]entry, error) {
	err := d.check(s.network)
	if errors.Is(err, errIncomplete) {
		other, oerr := d.text(selectOther)
		if other == "" || oerr != nil {
			return nil, oerr
		}
	}
	if err != nil {
		return nil, err
	}
	return d.entries()
}

// tidyRow removes a row if its process is gone.
func (s *sweeper) tidyRow(ctx context.Context, d *db, row entry) error {
	dead, err := s.dead(ctx, row)
	if !dead || err != nil {
		return err
	}
	if !s.DryRun {
		err = retry(ctx, func() error {
			_, err := d.exec(deleteExactly, row.Name, row.id, row.OSLAddr)
			return err
		})
	}
	if err == nil {
		s.stale[row.id] = true
		s.Rows = append(s.Rows, row.Host)
	}
	return err
}

// unreadable takes note of an error by which the database is not, or no more, a registry that can be read. It returns
// other errors.
func (s *sweeper) unreadable(err error) error {
	if !damaged(err) && !errors.Is(err, errIncomplete) && !errors.Is(err, errMismatch) {
		return err
	}
	s.spoilt = fmt.Sprintf("its registry cannot be read (%v); it is removed only by force", err)
	return nil
}

// dead judges a row, and tells whether its process is gone, or has not the host.
func (s *sweeper) dead(ctx context.Context, row entry) (bool, error) {
	port, ok := parseAddr(row.OSLAddr)
	if !ok {
		if s.Force {
			s.stale[row.id] = true
		} else {
			s.alive = fmt.Sprintf("of host %q at %q nobody can tell whether it is there; it is removed only by force", row.Name, row.OSLAddr)
		}
		return false, nil
	}
	state, err := checkMark(markPath(s.dir, port))
	if err != nil {
		return false, err
	}
	if state == Running {
		return false, nil // what its rows are worth is its own affair
	}
	v, err := s.judge.row(ctx, row.Name, row.OSLAddr)
	if v == verdictAlive && err == nil {
		s.alive = fmt.Sprintf("the process of host %q at %s is alive, or may be stopped", row.Name, row.OSLAddr)
	}
	return v != verdictAlive, err
}

// askOnce makes a Prober that does not ask where nobody was, or nobody answered, before.
func askOnce(probe Prober) Prober {
	if probe == nil {
		return nil
	}
	known := make(map[string]Answer)
	return func(ctx context.Context, osladdr, hostname string) (Answer, error) {
		if a, ok := known[osladdr]; ok {
			return a, nil
		}
		a, err := probe(ctx, osladdr, hostname)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a, err = Silent, nil
		}
		if err == nil && (a == Silent || a == Nobody) {
			known[osladdr] = a
		}
		return a, err
	}
}

// retry runs f until it is not refused because of others.
func retry(ctx context.Context, f func() error) error {
	for n := 0; ; n++ {
		if err := f(); !busy(err) {
			return err
		}
		if err := sleep(ctx, nil, rewait(n)); err != nil {
			return err
		}
	}
}
