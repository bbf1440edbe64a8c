package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
	// Log gets, at level Warn, that files of the registry were lost or damaged while in use, that they are there again,
	// and which hosts have lost their names by that. Nil means no log.
	Log *slog.Logger
}

// Open opens the registry of the network for a process that accepts at osladdr, a "127.0.0.1:port" that the
// caller is already bound to. What is missing is made: the directories, the database, its tables. An empty
// network makes a new one with a random name; see [Registry.Network].
//
// Processes may open one network at the same moment, and others may remove it by [Config.GC]. Open waits for others only
// as long as ctx lives. It locks the process's mark, or fails with [ErrMarked], and removes rows with osladdr, which are
// of a dead process that had the port before.
//
// A network of another version, or one whose registry says another name, is refused, as is a directory that
// is a link or another user's. A registry that is damaged is replaced by a new one: processes that are on the network
// notice, and announce their hosts there.
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
	isNew := network == ""
	if isNew {
		network, err = newNetwork(ctx, base)
	} else {
		err = checkName(network)
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, network)
	if err := checkPath(registryPath(dir)); err != nil {
		return nil, err
	}
	r := &Registry{
		network: network,
		base:    base,
		dir:     dir,
		path:    registryPath(dir),
		osladdr: osladdr,
		port:    port,
		isNew:   isNew,
		log:     c.log(),
		mending: make(chan struct{}, 1),
		own:     make(map[string]claim),
	}
	if r.session, err = r.attach(ctx, nil, trusted); err != nil {
		if isNew {
			evictUnused(dir, network)
		}
		return nil, err
	}
	r.life, r.stop = context.WithCancel(context.Background())
	r.judge = judge{dir, c.Probe, r.life}
	r.close = sync.OnceValue(r.shut)
	r.mu.Lock()
	r.watch = time.AfterFunc(watchEvery, r.look)
	r.mu.Unlock()
	if err := r.sweep(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// A session is what a registry has open. It is replaced as a whole if files of it were lost.
type session struct {
	db    *db // for who holds the registry's mu
	mark  *mark
	files *fileSet
	stamp stamp // of registry.db when it was last known to be sound; the watch's alone
}

// close closes what next does not have too. The file of the mark stays: it has been replaced, or removed.
func (s *session) close(next *session) error {
	var err error
	if s.mark != next.mark {
		err = s.mark.unlock()
	}
	if s.db != next.db {
		err = errors.Join(err, s.db.conn.Close())
	}
	return err
}

// abandon closes a session that is not to take the place of old, which may be nil, and leaves nothing of it.
func (s *session) abandon(old *session) error {
	if old == nil {
		old = new(session)
	}
	var err error
	if s.db != nil && s.db != old.db {
		err = s.db.conn.Close()
	}
	if s.mark != nil && s.mark != old.mark {
		err = errors.Join(err, s.mark.remove())
	}
	return err
}

// A trust says how much is believed of a registry that is opened again.
type trust int

const (
	trusted   trust = iota // it is sound if its files are in place
	suspected              // and if SQLite finds nothing wrong with it
	spoilt                 // it is not
)

var (
	// errNotAlone says that there is something to make or to remove, which needs the turn alone.
	errNotAlone = errors.New("BUG: the turn is shared")
	// errVanished says that somebody has removed what was being opened, whatever turns there are.
	errVanished = errors.New("somebody removes the network's files again and again")
)

// attachTries is how often it is tried to open a registry of which files vanish meanwhile.
const attachTries = 10

// attach opens the registry and takes the mark. What is missing, or damaged, is made. old is what this process had
// open until now, nil when it joins, and how how that is to be taken.
func (r *Registry) attach(ctx context.Context, old *session, how trust) (*session, error) {
	alone := old != nil
	for n := 0; ; {
		t, err := enter(ctx, r.base, r.dir, alone)
		if err != nil {
			return nil, err
		}
		s, err := r.attachIn(ctx, t, old, how, alone)
		t.leave()
		switch {
		case err == nil:
			return s, nil
		case err == errNotAlone:
			alone = true
			continue
		case n == attachTries || !amiss(err) && !errors.Is(err, fs.ErrNotExist) && err != errVanished:
			return nil, err
		}
		n++
		if sleep(ctx, nil, backoff(n)) != nil {
			return nil, err
		}
	}
}

// attachIn is attach with the turn t.
func (r *Registry) attachIn(ctx context.Context, t *turn, old *session, how trust, alone bool) (*session, error) {
	s := new(session)
	file, err := r.clear(old, how, alone)
	if err == nil {
		s.db, err = openDB(ctx, r.path, r.network, true)
	}
	if err == nil && how == suspected {
		err = s.db.checkAll(ctx)
	}
	if damaged(err) && !alone {
		err = errNotAlone
	} else if damaged(err) {
		err = r.discardDamaged(err)
	}
	if err == nil && old != nil && old.mark.linked() {
		s.mark = old.mark
	} else if err == nil {
		s.mark, err = takeMark(ctx, markPath(r.dir, r.port))
	}
	if err == nil {
		s.files, err = statRegistry(r.path)
	}
	if err == nil && !sameFile(s.files.db, file) {
		err = errVanished
	}
	if err != nil {
		_ = s.abandon(old)
		return nil, err
	}
	s.files.dir, s.files.mark = t.dir, s.mark.file
	s.stamp = stampOf(s.files.db)
	return s, nil
}

// discardDamaged removes a registry that is damaged. The next try makes a new one.
func (r *Registry) discardDamaged(err error) error {
	r.log.Warn("lonet: the registry is damaged, and replaced", "network", r.network, "registry", r.path, "err", err)
	if derr := discard(r.path); derr != nil {
		return fmt.Errorf("%w (replacing it: %w)", err, derr)
	}
	return errVanished
}
