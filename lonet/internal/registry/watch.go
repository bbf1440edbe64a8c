package registry

import (
	"context"
	"os"
)

// look is what a process does every second: it finds files that were lost, and others' content in those that were not.
func (r *Registry) look() {
	ctx, cancel := context.WithTimeout(r.life, lookTime)
	defer cancel()
	if _, err := r.whole(ctx); err == nil {
		select {
		case r.mending <- struct{}{}: // Close waits for it
			s := r.overwritten(ctx)
			<-r.mending
			if s != nil {
				_ = r.mend(ctx, s, suspected) // the log has heard of it
			}
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.down {
		r.watch.Reset(watchEvery)
	}
}

// overwritten returns the session if registry.db, still the file that is open, has content that is not ours, as after
// a copy onto it. A session would long be content with what it remembers of the file. That SQLite itself writes to
// the file is rare.
func (r *Registry) overwritten(ctx context.Context) *session {
	r.mu.Lock()
	s := r.session
	known := s.stamp
	r.mu.Unlock()
	fi, err := os.Lstat(r.path)
	if err != nil || stampOf(fi) == known {
		return nil
	}
	if !r.sound(ctx, s) {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.stamp = stampOf(fi)
	return nil
}

// sound tells whether who opens the registry now finds it to be that of the network, and our hosts in it.
func (r *Registry) sound(ctx context.Context, s *session) bool {
	t, err := takeTurn(ctx, r.dir, false)
	if err != nil {
		return true // not to be found out now
	}
	defer t.leave()
	if !s.files.inPlace(r.dir, r.port) {
		return true // but lost; SQLite must not open another database beside our log
	}
	d, err := openDB(ctx, r.path, r.network, false)
	if err != nil {
		return ctx.Err() != nil
	}
	defer d.conn.Close()
	hosts, err := d.hostsAt(r.osladdr)
	if err != nil {
		return busy(err)
	}
	there := make(map[string]bool, len(hosts))
	for _, host := range hosts {
		there[host] = true
	}
	for _, host := range r.hosts(announced) {
		if !there[host] && !r.announcedSince(d, host) {
			return false
		}
	}
	return true
}

// announcedSince tells of a host that was not there whether it was announced, or withdrawn, meanwhile.
func (r *Registry) announcedSince(d *db, host string) bool {
	osladdr, _, err := d.addr(host)
	if err != nil {
		return busy(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return osladdr == r.osladdr || r.own[host] != announced
}
