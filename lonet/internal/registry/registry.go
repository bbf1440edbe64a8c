package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/virtnet/virtnet"
)

// Config says where networks are. The zero value is the system's temporary directory.
type Config struct {
	// TempDir is the directory in which the directory "lonet" is; empty means os.TempDir().
	TempDir string
	// Probe asks who is at an address. Nil asks nobody: a process without a mark then counts as alive.
	Probe Prober
}

// closeWait is how long Close tries to remove the rows of its hosts. What stays is dead by rule.
const closeWait = 20 * time.Millisecond

// A Registry is a process's access to the registry of a network. It is a [virtnet.Registry] and a
// [virtnet.Withdrawer], and safe for concurrent use. It has no goroutines, and holds four descriptors: the
// mark, and registry.db with its -wal and -shm.
//
// Its operations return *virtnet.RegistryError. One that waits, because another process is writing, ends with
// the context's error when the context ends and with ErrRegistryDown when the registry is closed.
type Registry struct {
	// Constant after Open.
	network string
	dir     string      // of the network
	path    string      // of registry.db
	file    fs.FileInfo // of registry.db as it was opened
	osladdr string
	probe   Prober
	mark    *mark
	life    context.Context // ended by Close
	stop    context.CancelFunc
	close   func() error // does what Close does, once

	// Guarded by mu, which is held for single tries of statements, microseconds each, and never while waiting.
	mu    sync.Mutex
	db    *db // usable while down is unset
	down  bool
	own   map[string]claim
	dirty bool // own ever held anything, so there may be rows of ours
	pacer pacer
}

var (
	_ virtnet.Registry   = (*Registry)(nil)
	_ virtnet.Withdrawer = (*Registry)(nil)
)

// A claim is how far this registry is with the name of a host that it means to have.
type claim int

const (
	announcing claim = iota + 1 // the row may be there or not
	announced                   // the row is there
)

// Open opens the registry of the network for a process that accepts at osladdr, a "127.0.0.1:port" that the
// caller is already bound to. What is missing is made: the directories, the database, its tables. An empty
// network makes a new one with a random name; see [Registry.Network].
//
// Processes may open one network at the same moment. Open waits for others only as long as ctx lives. It
// locks the process's mark, or fails with [ErrMarked], and removes rows with osladdr, which are of a dead process that
// had the port before.
//
// A network of another version, or one whose registry says another name, is refused, as is a directory that
// is a link or another user's.
func (c Config) Open(ctx context.Context, network, osladdr string) (*Registry, error) {
	r, err := c.open(ctx, network, osladdr)
	if err != nil {
		where := c.Dir()
		if checkName(network) == nil {
			err = advise(filepath.Join(where, network), err)
			where = registryPath(filepath.Join(where, network))
		}
		return nil, &virtnet.RegistryError{Registry: where, Op: "open", Args: []string{network}, Err: err}
	}
	return r, nil
}

func (c Config) open(ctx context.Context, network, osladdr string) (*Registry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	port, ok := parseAddr(osladdr)
	if !ok {
		return nil, fmt.Errorf("address %q is not 127.0.0.1:port", osladdr)
	}
	base, err := filepath.Abs(c.Dir())
	if err != nil {
		return nil, err
	}
	if network, err = makeNetwork(ctx, base, network); err != nil {
		return nil, err
	}
	dir := filepath.Join(base, network)
	r := &Registry{
		network: network,
		dir:     dir,
		path:    registryPath(dir),
		osladdr: osladdr,
		probe:   c.Probe,
		own:     make(map[string]claim),
	}
	if r.db, err = openDB(ctx, r.path, network, true); err != nil {
		return nil, err
	}
	if r.file, err = os.Stat(r.path); err == nil {
		r.mark, err = takeMark(ctx, markPath(dir, port))
	}
	if err != nil {
		r.db.conn.Close()
		return nil, err
	}
	r.life, r.stop = context.WithCancel(context.Background())
	r.close = sync.OnceValue(r.shut)
	if err := r.sweep(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// sweep removes the rows that a dead process left with this process's address.
func (r *Registry) sweep(ctx context.Context) error {
	return r.write(ctx, func(d *db) error {
		found, err := d.anyAt(r.osladdr)
		if found {
			_, err = d.exec(deleteRowsAt, r.osladdr)
		}
		return err
	})
}

// Network returns the name of the network, without "lonet" before it.
func (r *Registry) Network() string { return r.network }

// Announce says that the host is in this process. hostdata must be the address that Open was given.
//
// If the registry has the name already, Announce finds out whether the process that has it is alive. It fails with
// ErrHostDup if so, which for a process without a mark that does not answer takes a second, and takes the name
// over otherwise. It fails also if the registry's files were removed or replaced since Open.
func (r *Registry) Announce(ctx context.Context, hostname, hostdata string) error {
	if err := r.announce(ctx, hostname, hostdata); err != nil {
		return r.fail("announce", err, hostname, hostdata)
	}
	return nil
}

func (r *Registry) announce(ctx context.Context, hostname, hostdata string) error {
	if err := r.reserve(hostname); err != nil {
		return err
	}
	err := ctx.Err()
	if err == nil && hostdata != r.osladdr {
		err = fmt.Errorf("the address of this process is %s", r.osladdr)
	}
	if err == nil {
		err = r.inPlace()
	}
	if err == nil {
		err = r.claim(ctx, hostname)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(r.own, hostname)
		return err
	}
	r.own[hostname] = announced
	return nil
}

var errRemoved = errors.New("the registry was removed or replaced while in use, so that who joins now sees another network: " +
	"close this one and join it again")

// inPlace fails if the path of the registry does not lead to the file that is open, as after an "rm -r", or a
// cleaner of temporary directories. It opens nothing: SQLite's locks would go with any descriptor that is closed.
func (r *Registry) inPlace() error {
	switch there, err := os.Stat(r.path); {
	case errors.Is(err, fs.ErrNotExist):
		return errRemoved
	case err != nil:
		return err
	case !os.SameFile(r.file, there):
		return errRemoved
	}
	return nil
}

// reserve keeps the name from other Announces here, and a Withdraw that still tries from removing the new row.
func (r *Registry) reserve(hostname string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.down:
		return virtnet.ErrRegistryDown
	case r.own[hostname] != 0:
		return virtnet.ErrHostDup
	}
	r.own[hostname] = announcing
	r.dirty = true
	return nil
}

// claim makes the host's row ours.
func (r *Registry) claim(ctx context.Context, hostname string) error {
	for {
		old, done, err := r.insert(ctx, hostname)
		if done || err != nil {
			return err
		}
		stale := verdictStale // our own, which a Withdraw has not got rid of yet
		if old.osladdr != r.osladdr {
			if stale, err = r.judge(ctx, hostname, old.osladdr); err != nil {
				return err
			}
		}
		if stale == verdictAlive {
			return virtnet.ErrHostDup
		}
		var replaced bool
		err = r.write(ctx, func(d *db) (err error) {
			replaced, err = d.replace(hostname, old, r.osladdr)
			return err
		})
		if err != nil {
			return err
		}
		if replaced {
			if stale == verdictDead {
				r.collect(old.osladdr)
			}
			return nil
		}
		// Somebody was faster. Who has the name now?
	}
}

// insert makes the host's row, or returns the one that is there.
func (r *Registry) insert(ctx context.Context, hostname string) (there row, done bool, _ error) {
	err := r.write(ctx, func(d *db) (err error) {
		for {
			if done, err = d.insert(hostname, r.osladdr); done || err != nil {
				return err
			}
			found := false
			if there, found, err = d.row(hostname); found || err != nil {
				return err
			}
			// The row went between the two statements, or its random id was taken.
		}
	})
	return there, done, err
}

// Query returns the address at which the process of the host accepts, a "127.0.0.1:port". It does not look
// whether the process is alive: see [Registry.Gone]. A row without such an address is an error.
func (r *Registry) Query(ctx context.Context, hostname string) (osladdr string, _ error) {
	osladdr, err := r.query(ctx, hostname)
	if err != nil {
		return "", r.fail("query", err, hostname)
	}
	return osladdr, nil
}

func (r *Registry) query(ctx context.Context, hostname string) (string, error) {
	if err := ctx.Err(); err != nil {
		if r.life.Err() != nil {
			return "", virtnet.ErrRegistryDown
		}
		return "", err
	}
	for n := 0; ; n++ {
		osladdr, err := r.lookup(hostname)
		if !busy(err) {
			return osladdr, err
		}
		if err := sleep(ctx, r.life.Done(), rewait(n)); err != nil {
			return "", err
		}
	}
}

// lookup is one try of a query. It allocates nothing but its result.
func (r *Registry) lookup(hostname string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return "", virtnet.ErrRegistryDown
	}
	osladdr, found, err := r.db.addr(hostname)
	if err != nil {
		return "", err
	}
	if !found {
		return "", virtnet.ErrNoHost
	}
	if _, ok := parseAddr(osladdr); !ok {
		return "", badAddr(osladdr)
	}
	return osladdr, nil
}

func badAddr(osladdr string) error {
	return fmt.Errorf("the registry has address %q, which is not 127.0.0.1:port", osladdr)
}

// Withdraw takes the announcement of the host back; without one it does nothing. From its start the host may be
// announced again, here too.
func (r *Registry) Withdraw(ctx context.Context, hostname, hostdata string) error {
	if err := r.withdraw(ctx, hostname, hostdata); err != nil {
		return r.fail("withdraw", err, hostname, hostdata)
	}
	return nil
}

func (r *Registry) withdraw(ctx context.Context, hostname, hostdata string) error {
	if hostdata != r.osladdr {
		return nil
	}
	r.mu.Lock()
	if r.own[hostname] == announced {
		delete(r.own, hostname)
	}
	r.mu.Unlock()
	return r.write(ctx, func(d *db) error {
		switch r.own[hostname] {
		case announcing:
			return errAnnouncing
		case announced:
			return nil // again, since: the row is that one's
		}
		_, err := d.exec(deleteRow, hostname, r.osladdr)
		return err
	})
}

// errAnnouncing makes a Withdraw wait for what becomes of a later Announce.
var errAnnouncing = errors.New("the host is being announced")

// Close removes what was announced and releases the registry and the mark. Operations in progress and later
// ones fail with ErrRegistryDown. It does not wait for other processes beyond some 20 ms: rows that it
// could not remove by then are dead by rule, since their process has no mark any more.
//
// The caller stops accepting at its address first, and must not use the port for another registry before Close
// has returned.
func (r *Registry) Close() error { return r.close() }

func (r *Registry) shut() error {
	r.stop()
	r.mu.Lock()
	r.down = true
	dirty := r.dirty
	r.mu.Unlock()

	// The mark is held meanwhile, so that the rows that go are not those of a next owner of the port.
	if dirty {
		deadline := time.Now().Add(closeWait)
		for r.deleteOwn() && time.Now().Before(deadline) {
			time.Sleep(rewait(0))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := errors.Join(r.db.conn.Close(), r.mark.remove())
	if err != nil {
		return r.fail("close", err, r.network)
	}
	return nil
}

// deleteOwn is one try to delete all rows of this process, and tells whether another is worth it.
func (r *Registry) deleteOwn() (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.db.exec(deleteRowsAt, r.osladdr)
	return busy(err)
}

// write runs f, which tries one writing statement, until it is not refused because of others.
func (r *Registry) write(ctx context.Context, f func(*db) error) error {
	for n := 0; ; n++ {
		gap, err := r.try(f)
		if gap {
			time.Sleep(paceGap)
		}
		if !busy(err) && err != errAnnouncing {
			return err
		}
		if err := sleep(ctx, r.life.Done(), rewait(n)); err != nil {
			return err
		}
	}
}

// try runs f once, and tells whether a gap is due after it.
func (r *Registry) try(f func(*db) error) (gap bool, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return false, virtnet.ErrRegistryDown
	}
	err := f(r.db)
	switch {
	case err == nil:
		gap = r.pacer.wrote()
	case busy(err):
		r.pacer.wasBusy()
	}
	return gap, err
}

func (r *Registry) fail(op string, err error, args ...string) error {
	return &virtnet.RegistryError{Registry: r.path, Op: op, Args: args, Err: advise(r.dir, explain(err))}
}
