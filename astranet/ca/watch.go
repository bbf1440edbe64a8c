package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A watch keeps credentials as their files are.
type watch struct {
	c     *Credentials
	paths paths
	log   *slog.Logger

	stopping sync.Once
	stop     chan struct{} // closed to end run
	done     chan struct{} // closed when it has ended

	mu      sync.Mutex // held by check, which does not wait for anything but files
	seen    [4]look
	used    Material          // what the files had in them that the credentials are of
	pending bool              // not all files are used as they were when last read
	told    map[string]string // what was logged of each part, so that it is logged once
}

// A look is what stat says of a file.
type look struct {
	info fs.FileInfo
	err  string
	at   time.Time
}

func lookAt(path string) look {
	l := look{at: time.Now()}
	if path == "" {
		return l
	}
	info, err := os.Stat(path)
	if l.info = info; err != nil {
		l.err = err.Error()
	}
	return l
}

// fresh is how long a file may be written once more without a change that stat would show.
const fresh = 2 * time.Second

// differs reports whether the file may be another than at the last look, or have other bytes in it.
func (l look) differs(last look) bool {
	if l.info == nil || last.info == nil {
		return l.err != last.err
	}
	return !os.SameFile(l.info, last.info) || l.info.Size() != last.info.Size() ||
		!l.info.ModTime().Equal(last.info.ModTime()) || last.info.ModTime().After(last.at.Add(-fresh))
}

// look looks at the files, and reports whether they may have changed since the last time.
func (w *watch) look() (changed bool) {
	for i, path := range []string{w.paths.cert, w.paths.key, w.paths.roots, w.paths.revoked} {
		l := lookAt(path)
		changed = changed || l.differs(w.seen[i])
		w.seen[i] = l
	}
	return changed
}

func (w *watch) run(poll time.Duration) {
	defer close(w.done)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
			w.check()
		}
	}
}

func (w *watch) close() {
	w.stopping.Do(func() { close(w.stop) })
	<-w.done
}

// check brings the credentials up to date. The error is of files that are not used.
func (w *watch) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.c.state()
	defer func() { w.tellAge(w.c.state()) }()
	if !w.look() && !w.pending {
		return nil
	}
	m, files := w.paths.read(w.used)
	next, trust := w.withTrust(old, m)
	next, pair := w.withPair(next, m)
	err := errors.Join(files, trust, pair)
	w.pending = err != nil
	if next != old {
		self, serr := next.verify(next.chain)
		if serr == nil {
			next.self = self
		}
		w.tell("self", "this node's certificate would be refused", serr)
		w.c.set(next)
		w.log.Info("credentials have changed", "name", next.self.Name, "serial", Serial(next.chain[0].SerialNumber),
			"expires", next.self.Expires, "authorities", len(next.roots), "revocation lists", len(next.lists))
	}
	w.tell("files", "new credentials are not used", err)
	return err
}

// withTrust returns the state with the roots and lists of m, those that are good.
func (w *watch) withTrust(s *state, m Material) (*state, error) {
	newRoots, newLists := !bytes.Equal(m.Roots, w.used.Roots), !bytes.Equal(m.Revoked, w.used.Revoked)
	if !newRoots && !newLists {
		return s, nil
	}
	var errs []error
	roots, lists := s.roots, s.lists
	if newRoots {
		if r, err := parseRoots(m.Roots, w.paths); err == nil {
			roots = r
		} else {
			errs, newRoots = append(errs, err), false
		}
	}
	if w.paths.revoked != "" {
		l, err := parseLists(m.Revoked, roots, w.paths)
		if err != nil {
			errs, newLists = append(errs, err), false
			if l, err = rebind(s.lists, roots); err != nil { // the old lists are none of the new roots'
				return s, errors.Join(append(errs, fmt.Errorf("%s: not used without a revocation list of its authorities: %w", w.paths.roots, err))...)
			}
		}
		lists = l
	}
	if !newRoots && !newLists {
		return s, errors.Join(errs...)
	}
	if newRoots {
		w.used.Roots = m.Roots
	}
	if newLists {
		w.used.Revoked = m.Revoked
	}
	return s.withRoots(roots, lists), errors.Join(errs...)
}

// rebind returns lists as they are with other roots.
func rebind(old []*list, roots []*x509.Certificate) (lists []*list, err error) {
	for _, l := range old {
		n, err := newList(l.crl, roots)
		if err != nil {
			return nil, fmt.Errorf("the list of %q: %w", listIssuer(l.crl), err)
		}
		lists = append(lists, n)
	}
	return lists, nil
}

// withPair returns the state with the certificate and key of m, if they are good.
func (w *watch) withPair(s *state, m Material) (*state, error) {
	if bytes.Equal(m.Cert, w.used.Cert) && bytes.Equal(m.Key, w.used.Key) {
		return s, nil
	}
	chain, key, err := parsePair(m.Cert, m.Key, w.paths)
	if err != nil {
		return s, err
	}
	next, err := s.withPair(chain, key)
	if err != nil {
		return s, fmt.Errorf("%s: it would be refused: %w", w.paths.cert, err)
	}
	if err := s.sameNode(next); err != nil {
		return s, fmt.Errorf("%s: %w", w.paths.cert, err)
	}
	w.used.Cert, w.used.Key = m.Cert, m.Key
	return next, nil
}

// tellAge logs what gets too old while nothing is replaced: the node's certificate, and lists. A list that is older than
// its authority meant it to become is used all the same: what it revokes is revoked, and a mesh must not end because
// somebody is on holiday.
func (w *watch) tellAge(s *state) {
	now, leaf := time.Now(), s.chain[0]
	var err error
	switch end := s.self.Expires; {
	case now.After(end):
		err = fmt.Errorf("%s: it has expired on %s: replace it", w.paths.cert, stamp(end))
	case now.After(end.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 10)):
		err = fmt.Errorf("%s: it expires on %s: replace it by then", w.paths.cert, stamp(end))
	}
	w.tell("certificate's age", "this node's certificate is old", err)
	err = nil
	for _, l := range s.lists {
		if l.stale(now) {
			err = errors.Join(err, fmt.Errorf("%s: the list of %q should have been replaced by %s",
				w.paths.revoked, listIssuer(l.crl), stamp(l.crl.NextUpdate)))
		}
	}
	w.tell("list's age", "revocation list is old, and used all the same", err)
}

// tell logs trouble with a part, if it is news.
func (w *watch) tell(part, what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if w.told == nil {
		w.told = make(map[string]string)
	}
	if w.told[part] == text {
		return
	}
	w.told[part] = text
	if err != nil {
		w.log.Warn(what, "err", err)
	}
}
