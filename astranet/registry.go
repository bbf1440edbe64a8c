package astranet

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// RegistryStorage is a set of services that can be watched. The zero value is an empty one, for [RegistryStorage.Sync].
//
//	var known astranet.RegistryStorage
//	services := node.ServiceMap()
//	for it := services.Iter(); it != nil; it = it.Next() {
//		known.Sync(services, appeared, vanished)
//	}
//
// Its methods are safe for concurrent use.
type RegistryStorage struct {
	mu      sync.Mutex
	byName  map[string][]ServiceId // each by host and port
	size    int
	rev     uint64        // how many changes there were
	changed chan struct{} // closed at the next change, if somebody waits for it
	closed  bool
}

func (r *RegistryStorage) init() {
	if r.byName == nil {
		r.byName = make(map[string][]ServiceId)
	}
}

func compareInstance(a, b ServiceId) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}

// touch says that something has changed. It is called with mu held, as what follows.
func (r *RegistryStorage) touch() {
	r.rev++
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *RegistryStorage) next() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// add adds a service, or replaces the one of the same name, host and port.
func (r *RegistryStorage) add(s ServiceId) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.init()
	if r.closed {
		return
	}
	all := r.byName[s.Service]
	i, found := slices.BinarySearchFunc(all, s, compareInstance)
	switch {
	case found && all[i] == s:
		return
	case found:
		all[i] = s
	default:
		r.byName[s.Service] = slices.Insert(all, i, s)
		r.size++
	}
	r.touch()
}

// remove removes the service of that name, host and port.
func (r *RegistryStorage) remove(s ServiceId) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.byName[s.Service]
	i, found := slices.BinarySearchFunc(all, s, compareInstance)
	if !found {
		return
	}
	if all = slices.Delete(all, i, i+1); len(all) == 0 {
		delete(r.byName, s.Service)
	} else {
		r.byName[s.Service] = all
	}
	r.size--
	r.touch()
}

func (r *RegistryStorage) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byName[name]) > 0
}

// count returns how many instances of a service a node has.
func (r *RegistryStorage) count(name string, host uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.byName[name]
	first, _ := slices.BinarySearchFunc(all, ServiceId{Host: host}, compareInstance)
	end, found := slices.BinarySearchFunc(all, ServiceId{Host: host, Port: math.MaxUint32}, compareInstance)
	if found {
		end++
	}
	return end - first
}

// choose returns the instance that the selector chooses of those that fit, or what is closed when there may be one.
func (r *RegistryStorage) choose(sel Selector, name string, fits func(ServiceId) bool) (s ServiceId, found bool, next <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pool := r.byName[name]
	if i := slices.IndexFunc(pool, func(s ServiceId) bool { return !fits(s) }); i >= 0 {
		rest := pool[i:]
		pool = slices.Clone(pool[:i])
		for _, s := range rest {
			if fits(s) {
				pool = append(pool, s)
			}
		}
	}
	if len(pool) == 0 {
		return ServiceId{}, false, r.next()
	}
	return pool[sel.Select(pool)], true, nil
}

// All returns the services by name, host and port.
func (r *RegistryStorage) All() []ServiceId {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]ServiceId, 0, r.size)
	for _, s := range r.byName {
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b ServiceId) int { return cmp.Or(cmp.Compare(a.Service, b.Service), compareInstance(a, b)) })
	return all
}

// Sync makes r equal to other, and calls onAdd and onDelete, each of which may be nil, for every difference, without locks.
// r should be one that nothing else changes.
func (r *RegistryStorage) Sync(other *RegistryStorage, onAdd, onDelete func(ServiceId)) {
	theirs, ours := other.All(), r.All()
	for len(theirs)+len(ours) > 0 {
		switch {
		case len(ours) == 0 || len(theirs) > 0 && compareService(theirs[0], ours[0]) < 0:
			r.add(theirs[0])
			call(onAdd, theirs[0])
			theirs = theirs[1:]
		case len(theirs) == 0 || compareService(theirs[0], ours[0]) > 0:
			r.remove(ours[0])
			call(onDelete, ours[0])
			ours = ours[1:]
		default:
			r.add(theirs[0]) // its priority may be another
			theirs, ours = theirs[1:], ours[1:]
		}
	}
}

func compareService(a, b ServiceId) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), compareInstance(a, b))
}

func call(f func(ServiceId), s ServiceId) {
	if f != nil {
		f(s)
	}
}

// Discover returns an instance of a service, by its full name, environment included, as the selector chooses; nil is RandomSelector. found
// tells whether there is one.
func (r *RegistryStorage) Discover(sel Selector, name string) (s ServiceId, found bool) {
	return r.DiscoverTimeout(sel, name, 0)
}

// DiscoverTimeout is Discover that waits for the service, for that long at most, and until r is closed.
func (r *RegistryStorage) DiscoverTimeout(sel Selector, name string, wait time.Duration) (s ServiceId, found bool) {
	if sel == nil {
		sel = RandomSelector{}
	}
	var timeout <-chan time.Time
	for {
		r.mu.Lock()
		pool, closed := slices.Clone(r.byName[name]), r.closed
		var next <-chan struct{}
		if len(pool) == 0 && wait > 0 && !closed {
			next = r.next()
		}
		r.mu.Unlock()
		if len(pool) > 0 {
			return pool[sel.Select(pool)], true
		}
		if next == nil {
			return ServiceId{}, false
		}
		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-next:
		case <-timeout:
			wait = 0
		}
	}
}

// Close empties r, and ends what waits on it. Nothing is added any more.
func (r *RegistryStorage) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.byName, r.size = nil, 0
		r.touch()
	}
}

// An Iterator waits for changes of a RegistryStorage.
type Iterator struct {
	*RegistryStorage
	seen uint64
}

// Iter returns an Iterator that has seen no change yet.
func (r *RegistryStorage) Iter() *Iterator { return &Iterator{RegistryStorage: r} }

// Next waits until there is a change that the Iterator has not seen, and returns the Iterator; or nil once r is closed.
func (it *Iterator) Next() *Iterator {
	if it == nil {
		return nil
	}
	r := it.RegistryStorage
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.rev == it.seen && !r.closed {
		next := r.next()
		r.mu.Unlock()
		<-next
		r.mu.Lock()
	}
	if r.closed {
		return nil
	}
	it.seen = r.rev
	return it
}
