package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/hostname"
)

// Files may be lost while they are in use: to an rm, to a cleaner of temporary directories, to a copy that somebody
// puts in their place. A process that notices opens what is there now, or makes it, and announces its hosts there.

const (
	// watchEvery is how often a process looks at the files on its own account, for others may look for its hosts while
	// it has nothing to ask the registry. A look costs some 6 µs.
	watchEvery = time.Second
	// lookTime bounds what one look may take, with all that comes of it. The next goes on where it has ended.
	lookTime = 5 * time.Second
)

var errLost = errors.New("the registry was removed or replaced while in use, and cannot be opened again")

// whole sees to it that the files are in place and have our hosts. It tells whether there was anything to do.
func (r *Registry) whole(ctx context.Context) (mended bool, _ error) {
	r.mu.Lock()
	s, down, behind := r.session, r.down, r.behind
	r.mu.Unlock()
	if down {
		return false, virtnet.ErrRegistryDown
	}
	if !behind && s.files.inPlace(r.dir, r.port) {
		return false, nil
	}
	return true, r.mend(ctx, nil, trusted)
}

// attempts is how often an operation is tried on files that are spoilt again and again.
const attempts = 5

// attempt runs f, and again if it has failed because of files that could be mended. If the database is found to be
// damaged although nothing was wrong with it when it was looked through, it is replaced all the same: what SQLite has open
// may not be what is there.
func (r *Registry) attempt(ctx context.Context, f func() error) error {
	how := suspected
	for n := 1; ; n++ {
		err := f()
		if n == attempts || !amiss(err) || how == spoilt && !damaged(err) {
			return err
		}
		r.mu.Lock()
		seen := r.session
		r.mu.Unlock()
		if merr := r.mend(ctx, seen, how); merr != nil {
			return fmt.Errorf("%w (opening it again: %w)", err, merr)
		}
		how = spoilt
	}
}

// mend mends what was lost, if anything was. seen is a session with which something is wrong even if its files are in
// place, or nil, and how what is to be thought of it. One mends at a time; others wait for that as long as ctx lives.
func (r *Registry) mend(ctx context.Context, seen *session, how trust) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	select {
	case r.mending <- struct{}{}:
		defer func() { <-r.mending }()
	case <-ctx.Done():
	}
	err := ctx.Err()
	if err == nil {
		err = r.mendAlone(ctx, seen, how)
	}
	switch {
	case err == nil:
		return nil
	case r.life.Err() != nil:
		return virtnet.ErrRegistryDown
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// mendAlone is mend for who alone mends.
func (r *Registry) mendAlone(ctx context.Context, seen *session, how trust) error {
	r.mu.Lock()
	now, behind := r.session, r.behind
	r.mu.Unlock()
	if now != seen {
		how = trusted
	}
	var err error
	if how != trusted || !now.files.inPlace(r.dir, r.port) {
		err = r.renew(ctx, now, how)
		behind = true
	}
	if err == nil && behind {
		err = r.restore(ctx)
	}
	if err != nil && ctx.Err() == nil && r.told != now {
		r.told = now
		r.log.Warn("lonet: the registry cannot be opened again", "network", r.network, "registry", r.path, "err", err)
	}
	return err
}

// renew puts a new session in the place of one that has lost files.
func (r *Registry) renew(ctx context.Context, old *session, how trust) error {
	there, err := statRegistry(r.path)
	var next *session
	if whole := err == nil && old.files.sameRegistry(there); whole && how == trusted {
		next, err = r.remark(ctx, old)
	} else if next, err = r.attach(ctx, old, how); err != nil && !whole {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.down {
		r.mu.Unlock()
		return errors.Join(virtnet.ErrRegistryDown, next.abandon(old))
	}
	r.session = next
	if next.db != old.db {
		r.behind = true
		for host, c := range r.own {
			if c != announcing {
				r.own[host] = lost
			}
		}
	}
	r.mu.Unlock()
	if !sameFile(next.files.db, old.files.db) {
		r.log.Warn("lonet: the registry was lost while in use, and is there again", "network", r.network, "registry", r.path)
		r.carry(ctx, old)
	}
	_ = old.close(next) // what can be wrong with it is what it was given up for
	return nil
}

// remark takes the mark of a session that has lost only that.
func (r *Registry) remark(ctx context.Context, old *session) (*session, error) {
	t, err := enter(ctx, r.base, r.dir, false)
	if err != nil {
		return nil, err
	}
	defer t.leave()
	next := &session{db: old.db}
	if next.mark, err = takeMark(ctx, markPath(r.dir, r.port)); err != nil {
		return nil, err
	}
	// The rest is what is open, whatever there may be by now.
	next.files = &fileSet{dir: t.dir, db: old.files.db, wal: old.files.wal, shm: old.files.shm, mark: next.mark.file}
	r.mu.Lock()
	defer r.mu.Unlock()
	next.stamp = old.stamp
	return next, nil
}

// carry takes over what the registry that was lost says of other processes: they have not noticed yet, or are programs
// that never do. What is out of date of it is judged as any row is. It is done as well as it can be.
func (r *Registry) carry(ctx context.Context, old *session) {
	hosts, _ := old.db.entries()
	for _, h := range hosts {
		if _, ok := parseAddr(h.OSLAddr); !ok || h.OSLAddr == r.osladdr || hostname.Check(h.Name) != nil {
			continue
		}
		err := r.write(ctx, func(d *db) error {
			_, err := d.insert(h.Name, h.OSLAddr)
			return err
		})
		if err != nil {
			return
		}
	}
}

// restore announces again the hosts that were announced in a registry which was lost.
func (r *Registry) restore(ctx context.Context) error {
	for _, host := range r.hosts(lost) {
		err := r.claim(ctx, host, lost)
		if errors.Is(err, virtnet.ErrHostDup) {
			r.log.Warn("lonet: another process has taken the name of a host while the registry was lost: "+
				"who does not know the host already cannot dial it", "network", r.network, "host", host)
			r.mu.Lock()
			if r.own[host] == lost {
				r.own[host] = taken
			}
			r.mu.Unlock()
		} else if err != nil && err != errWithdrawn {
			return err
		}
	}
	if err := r.sweep(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind = false
	return nil
}

// hosts returns the hosts of this process with which it is that far.
func (r *Registry) hosts(far claim) (hosts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host, c := range r.own {
		if c == far {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
