package main

import (
	"fmt"
	"sync"
	"time"
)

// A model is what raft promises, checked while the nodes run:
//
//   - no term has two leaders;
//   - every node applies the same records in the same order, from the first on, whenever it is started again;
//   - what a client was told is committed is among them, at the index it was told, and so for ever;
//   - what a client was told is refused is not, and never will be;
//   - no attempt is there twice.
//
// It also keeps the account of a run.
type model struct {
	start time.Time
	tell  func(line string) // called with lines of the account, if it is not nil

	mu      sync.Mutex
	log     []record             // what any node has applied: it is committed
	index   map[attempt]uint64   // where it is in raft's log
	leaders map[uint64]string    // who has led, by term
	term    uint64               // the highest of those
	known   map[attempt]uint64   // where clients know it is
	refused map[attempt]struct{} //
	entries map[uint32]struct{}  // those of known
	account []string
	faults  []string // what is wrong
}

var _ watcher = (*model)(nil)

func newModel(tell func(string)) *model {
	return &model{
		start: time.Now(), tell: tell, index: make(map[attempt]uint64), leaders: make(map[uint64]string),
		known: make(map[attempt]uint64), refused: make(map[attempt]struct{}), entries: make(map[uint32]struct{}),
	}
}

func (m *model) leads(node string, term uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch who, ok := m.leaders[term]; {
	case !ok:
		m.leaders[term] = node
		m.term = max(m.term, term)
		m.sayLocked("%s leads, term %d", node, term)
	case who != node:
		m.wrongLocked("%s and %s both lead in term %d", who, node, term)
	}
}

func (m *model) applied(node string, n int, r record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case n > len(m.log):
		m.wrongLocked("%s: record %d is %v, and nobody has those before", node, n, r)
	case n < len(m.log):
		if m.log[n] != r {
			m.wrongLocked("%s: record %d is %v, and elsewhere %v", node, n, r, m.log[n])
		}
	default:
		m.appendLocked(node, r)
	}
}

// appendLocked takes the next record.
func (m *model) appendLocked(node string, r record) {
	if at, ok := m.index[r.Attempt]; ok {
		m.wrongLocked("%s: %v, and also at %d", node, r, at)
	}
	if _, ok := m.refused[r.Attempt]; ok {
		m.wrongLocked("%s: %v, which was refused", node, r)
	}
	if n := len(m.log); n > 0 && (r.Index <= m.log[n-1].Index || r.Term < m.log[n-1].Term) {
		m.wrongLocked("%s: %v, after %v", node, r, m.log[n-1])
	}
	m.log = append(m.log, r)
	m.index[r.Attempt] = r.Index
}

// answered is called with what a client was told.
func (m *model) answered(a attempt, o outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, applied := m.index[a]
	switch {
	case o.Err == "":
		if at != o.Index { // who answers has applied it
			m.wrongLocked("%v: its client was told that it is at %d, and it is at %d", a, o.Index, at)
		}
		m.known[a] = o.Index
		m.entries[a.Entry] = struct{}{}
	case o.Refused:
		if applied {
			m.wrongLocked("%v: its client was told %q, and it is at %d", a, o.Err, at)
		}
		m.refused[a] = struct{}{}
	}
}

// committed returns how many entries clients know to be committed.
func (m *model) committed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// records returns how many records are committed.
func (m *model) records() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

// summary tells what is committed.
func (m *model) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries := make(map[uint32]struct{})
	for _, r := range m.log {
		entries[r.Attempt.Entry] = struct{}{}
	}
	return fmt.Sprintf("%d records of %d entries, in %d terms", len(m.log), len(entries), m.term)
}

// leader returns who leads in the highest term, or has led.
func (m *model) leader() (node string, term uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaders[m.term], m.term
}

// check compares what a node has in the end with what is committed.
func (m *model) check(node string, records []record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(records) != len(m.log) {
		m.wrongLocked("%s: has %d records in the end, want %d", node, len(records), len(m.log))
		return
	}
	for i, r := range records {
		if r != m.log[i] {
			m.wrongLocked("%s: record %d is %v in the end, want %v", node, i, r, m.log[i])
		}
	}
	for a, at := range m.known {
		if m.index[a] != at {
			m.wrongLocked("%v: committed at %d, and in the end at %d", a, at, m.index[a])
		}
	}
}

// say adds to the account.
func (m *model) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sayLocked(format, args...)
}

func (m *model) sayLocked(format string, args ...any) {
	line := fmt.Sprintf("%8.3fs %5d  %s", time.Since(m.start).Seconds(), len(m.entries), fmt.Sprintf(format, args...))
	m.account = append(m.account, line)
	if m.tell != nil {
		m.tell(line)
	}
}

func (m *model) wrong(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrongLocked(format, args...)
}

func (m *model) wrongLocked(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	m.faults = append(m.faults, line)
	m.sayLocked("WRONG: %s", line)
}

// problems returns what is wrong, the first few of it.
func (m *model) problems() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults[:min(len(m.faults), 10)]
}
