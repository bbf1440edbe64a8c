package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// An attempt is one proposal of an entry. Whoever proposes an entry again, for it does not know what became of it, makes
// another attempt.
type attempt struct{ Entry, Attempt uint32 }

func (a attempt) String() string { return fmt.Sprintf("%d.%d", a.Entry, a.Attempt) }

func (a attempt) marshal() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, a.Entry), a.Attempt)
}

func unmarshal(b []byte) (attempt, error) {
	if len(b) != 8 {
		return attempt{}, fmt.Errorf("a proposal of %d bytes, want 8", len(b))
	}
	return attempt{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}, nil
}

// A record is an entry of raft's log as it was applied.
type record struct {
	Index, Term uint64
	Attempt     attempt
}

func (r record) String() string {
	return fmt.Sprintf("%v at %d in term %d", r.Attempt, r.Index, r.Term)
}

// A machine is the state that raft replicates: the list of what was applied.
type machine struct {
	name  string
	watch watcher

	mu      sync.Mutex
	records []record // only ever appended to, so that a snapshot may share them
}

var _ raft.FSM = (*machine)(nil)

// all returns what was applied. It is not to be changed.
func (m *machine) all() []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[:len(m.records):len(m.records)]
}

// Apply is raft.FSM's.
func (m *machine) Apply(l *raft.Log) any {
	a, err := unmarshal(l.Data)
	if err != nil {
		m.watch.wrong("%s: entry %d: %v", m.name, l.Index, err)
		return err
	}
	r := record{l.Index, l.Term, a}
	m.mu.Lock()
	n := len(m.records)
	m.records = append(m.records, r)
	m.mu.Unlock()
	m.watch.applied(m.name, n, r)
	return nil
}

// Snapshot is raft.FSM's.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return state(m.all()), nil }

// Restore is raft.FSM's.
func (m *machine) Restore(from io.ReadCloser) error {
	b, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	records := make(state, len(b)/binary.Size(record{}))
	if _, err := binary.Decode(b, binary.BigEndian, records); err != nil {
		return err
	}
	m.mu.Lock()
	m.records = records
	m.mu.Unlock()
	for i, r := range records {
		m.watch.applied(m.name, i, r)
	}
	return nil
}

// A state is what a snapshot has.
type state []record

// Persist is raft.FSMSnapshot's.
func (s state) Persist(to raft.SnapshotSink) error {
	b, err := binary.Append(nil, binary.BigEndian, s)
	if err == nil {
		_, err = to.Write(b)
	}
	if err != nil {
		_ = to.Cancel()
		return err
	}
	return to.Close()
}

// Release is raft.FSMSnapshot's.
func (s state) Release() {}
