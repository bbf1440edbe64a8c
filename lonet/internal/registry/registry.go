package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtnet/virtnet"
)

// closeWait is how long Close tries to remove the rows of its hosts. What stays is dead by rule.
const closeWait = 20 * time.Millisecond

// A Registry is a process's access to the registry of a network. It is a [virtnet.Registry] and a
// [virtnet.Withdrawer], and safe for concurrent use. It holds four descriptors: the mark, and registry.db with its -wal
// and -shm. It has no goroutines, but for the instant once a second in which it looks whether its files are
// in place. If they are not, or are damaged, that look or an operation that finds it brings them back, with the hosts
// of this process.
//
// Its operations return *virtnet.RegistryError. One that waits, because another process is writing, ends with
// the context's error when the context ends and with ErrRegistryDown when the registry is closed.
type Registry struct {
	// Constant after Open.
	network string
	base    string // the directory of networks
	dir     string // of the network
	path    string // of registry.db
	osladdr string
	port    uint16 // of osladdr
	isNew   bool   // the network has a random name that was made for it
	judge   judge
	log     *slog.Logger
	life    context.Context // ended by Close
	stop    context.CancelFunc
	close   func() error // does what Close does, once

	// mending is full while somebody mends, and then only who does replaces the session. It is taken before mu.
	mending chan struct{}
	told    *session // of which the log knows that it cannot be mended; of who mends

	doubt atomic.Bool // see Doubt; atomic because every Query looks at it

	// Guarded by mu, which is held for single tries of statements, microseconds each, and never while waiting.
	mu       sync.Mutex
	*session // usable while down is unset
	down     bool
	own      map[string]claim
	behind   bool // there may be hosts that are lost, or rows that should not be ours
	dirty    bool // own ever held anything, so there may be rows of ours
	pacer    pacer
	watch    *time.Timer // runs look
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
	lost                        // the row was in a registry that is no more; it is to be made again
	taken                       // likewise, but another process has made a host of that name meanwhile
)

// sweep removes rows with this process's address of hosts that it does not have: those that a dead process left which
// had the port before, and those that others have carried over from a registry that was lost.
func (r *Registry) sweep(ctx context.Context) error {
	return r.write(ctx, func(d *db) error {
		hosts, err := d.hostsAt(r.osladdr)
		if len(hosts) > 0 && len(r.own) == 0 {
			_, err = d.exec(deleteRowsAt, r.osladdr)
			return err
		}
		for _, host := range hosts {
			if r.own[host] == 0 && err == nil {
				_, err = d.exec(deleteRow, host, r.osladdr)
			}
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
// over otherwise. It fails also if the registry's files were removed, replaced or damaged and cannot be made again.
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
		_, err = r.whole(ctx)
	}
	if err == nil {
		err = r.claim(ctx, hostname, announcing)
	}
	if amiss(err) {
		err = r.attempt(ctx, func() error { return r.claim(ctx, hostname, announcing) })
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.own, hostname)
	}
	return err
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

// errWithdrawn ends a claim on behalf of a host that is not to be announced any more.
var errWithdrawn = errors.New("the host was withdrawn")

// claim makes the host's row ours, as long as it is from that far with it, and then it is announced.
func (r *Registry) claim(ctx context.Context, hostname string, from claim) error {
	for {
		old, done, err := r.insert(ctx, hostname, from)
		if done || err != nil {
			return err
		}
		stale := verdictStale // our own, which a Withdraw has not got rid of yet, or which was carried over
		if old.osladdr != r.osladdr {
			if stale, err = r.judge.row(ctx, hostname, old.osladdr); err != nil {
				return err
			}
		}
		if stale == verdictAlive {
			return virtnet.ErrHostDup
		}
		err = r.write(ctx, func(d *db) (err error) {
			if r.own[hostname] != from {
				return errWithdrawn
			}
			if done, err = d.replace(hostname, old, r.osladdr); done {
				r.own[hostname] = announced
			}
			return err
		})
		if err != nil {
			return err
		}
		if done {
			if stale == verdictDead {
				r.collect(old.osladdr)
			}
			return nil
		}
		// Somebody was faster. Who has the name now?
	}
}

// insert makes the host's row, or returns the one that is there.
func (r *Registry) insert(ctx context.Context, hostname string, from claim) (there row, done bool, _ error) {
	err := r.write(ctx, func(d *db) (err error) {
		if r.own[hostname] != from {
			return errWithdrawn
		}
		for {
			if done, err = d.insert(hostname, r.osladdr); done {
				r.own[hostname] = announced
			}
			if done || err != nil {
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
	if r.doubt.Load() && r.doubt.Swap(false) {
		if _, err := r.whole(ctx); err != nil {
			return "", err
		}
	}
	osladdr, err := r.search(ctx, hostname)
	switch {
	case err == nil:
		return osladdr, nil
	case err == virtnet.ErrNoHost: // or is it that the registry is one that all have left?
		mended, merr := r.whole(ctx)
		if merr != nil {
			return "", merr
		}
		if mended {
			osladdr, err = r.search(ctx, hostname)
		}
	case amiss(err):
		err = r.attempt(ctx, func() error {
			osladdr, err = r.search(ctx, hostname)
			return err
		})
	}
	return osladdr, err
}

// search looks the host up, and waits where it has to.
func (r *Registry) search(ctx context.Context, hostname string) (string, error) {
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

// Doubt says that the host was not found at an address that Query has returned. The next Query sees to it that the
// registry is in place.
func (r *Registry) Doubt() { r.doubt.Store(true) }

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
	if r.own[hostname] != announcing {
		delete(r.own, hostname)
	}
	r.mu.Unlock()
	return r.attempt(ctx, func() error {
		return r.write(ctx, func(d *db) error {
			switch r.own[hostname] {
			case 0:
				_, err := d.exec(deleteRow, hostname, r.osladdr)
				return err
			case announcing:
				return errAnnouncing
			}
			return nil // again, since: the row is that one's
		})
	})
}

// errAnnouncing makes a Withdraw wait for what becomes of a later Announce.
var errAnnouncing = errors.New("the host is being announced")

// Close removes what was announced and releases the registry and the mark. Operations in progress and later
// ones fail with ErrRegistryDown. It does not wait for other processes beyond some 20 ms: rows that it
// could not remove by then are dead by rule, since their process has no mark any more. A network with a random name
// that Open has made is removed if nobody else is on it.
//
// The caller stops accepting at its address first, and must not use the port for another registry before Close
// has returned.
func (r *Registry) Close() error { return r.close() }

func (r *Registry) shut() error {
	r.stop()
	r.mu.Lock()
	r.down = true
	dirty := r.dirty
	if r.watch != nil {
		r.watch.Stop()
	}
	r.mu.Unlock()
	r.mending <- struct{}{} // who mends has no reason to wait any more, and nobody will mend again

	// The mark is held meanwhile, so that the rows that go are not those of a next owner of the port.
	if dirty {
		deadline := time.Now().Add(closeWait)
		for r.deleteOwn() && time.Now().Before(deadline) {
			time.Sleep(rewait(0))
		}
	}
	r.mu.Lock()
	err := errors.Join(r.db.conn.Close(), r.mark.remove())
	r.mu.Unlock()
	if r.isNew {
		evictUnused(r.dir, r.network)
	}
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
