package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// A disk has what a node keeps when it crashes: raft's log, its term and its vote, and snapshots. It is in memory.
// Each write is there or not there after a crash, never in part.
type disk struct {
	*raft.InmemStore // read without mu: it has its own

	name  string
	watch watcher

	mu        sync.Mutex // every write holds it
	votedTerm uint64
	votedFor  string
	snapshots []*snapshot // newest first
}

// keptSnapshots is how many there are. More than one, as raft opens the one it was just sent even if a newer is here.
const keptSnapshots = 2

var (
	_ raft.LogStore      = (*disk)(nil)
	_ raft.StableStore   = (*disk)(nil)
	_ raft.SnapshotStore = (*disk)(nil)
)

// The keys under which raft keeps its term and its vote.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVote     = "LastVoteCand"
)

func newDisk(name string, watch watcher) *disk {
	return &disk{InmemStore: raft.NewInmemStore(), name: name, watch: watch}
}

// copy returns a disk with what is on d now. Who still writes to d, because it has crashed and does not know, writes
// to d only.
func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := newDisk(d.name, d.watch)
	to.votedTerm, to.votedFor, to.snapshots = d.votedTerm, d.votedFor, slices.Clone(d.snapshots)
	first, _ := d.FirstIndex() // the errors of InmemStore are all nil but for what is not there
	last, _ := d.LastIndex()
	for i := first; i > 0 && i <= last; i++ {
		entry := new(raft.Log)
		if d.GetLog(i, entry) == nil {
			_ = to.InmemStore.StoreLog(entry)
		}
	}
	for _, key := range []string{keyTerm, keyVoteTerm} {
		v, _ := d.GetUint64([]byte(key))
		_ = to.InmemStore.SetUint64([]byte(key), v)
	}
	if v, err := d.Get([]byte(keyVote)); err == nil {
		_ = to.InmemStore.Set([]byte(keyVote), v)
	}
	return to
}

func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

func (d *disk) StoreLogs(entries []*raft.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.InmemStore.StoreLogs(entries)
}

func (d *disk) DeleteRange(first, last uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.InmemStore.DeleteRange(first, last)
}

// SetUint64 is raft.StableStore's. It sees to it that terms only grow.
func (d *disk) SetUint64(key []byte, v uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, _ := d.GetUint64(key); v < old {
		d.watch.wrong("%s: %s goes back from %d to %d", d.name, key, old, v)
	}
	return d.InmemStore.SetUint64(key, v)
}

// Set is raft.StableStore's. It sees to it that nobody votes for two in one term.
func (d *disk) Set(key, v []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if string(key) == keyVote {
		term, _ := d.GetUint64([]byte(keyVoteTerm))
		if term == d.votedTerm && d.votedFor != string(v) {
			d.watch.wrong("%s: votes for %s in term %d, and has voted for %s", d.name, v, term, d.votedFor)
		}
		d.votedTerm, d.votedFor = term, string(v)
	}
	return d.InmemStore.Set(key, v)
}

// A snapshot is written as a whole, or not there. (raft's own store in memory forgets the one before as soon as the
// next begins.)
type snapshot struct {
	disk     *disk
	meta     raft.SnapshotMeta
	contents bytes.Buffer
}

// Create is raft.SnapshotStore's.
func (d *disk) Create(version raft.SnapshotVersion, index, term uint64, servers raft.Configuration, serversIndex uint64,
	_ raft.Transport) (raft.SnapshotSink, error) {
	return &snapshot{disk: d, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: servers, ConfigurationIndex: serversIndex,
	}}, nil
}

// List is raft.SnapshotStore's.
func (d *disk) List() ([]*raft.SnapshotMeta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*raft.SnapshotMeta
	for _, s := range d.snapshots {
		all = append(all, &s.meta)
	}
	return all, nil
}

// Open is raft.SnapshotStore's.
func (d *disk) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.snapshots {
		if s.meta.ID == id {
			return &s.meta, io.NopCloser(bytes.NewReader(s.contents.Bytes())), nil
		}
	}
	return nil, nil, fmt.Errorf("no snapshot %s", id)
}

func (s *snapshot) Write(b []byte) (int, error) { return s.contents.Write(b) }

func (s *snapshot) ID() string { return s.meta.ID }

func (s *snapshot) Cancel() error { return nil }

// Close puts the snapshot on the disk.
func (s *snapshot) Close() error {
	d := s.disk
	s.meta.Size = int64(s.contents.Len())
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Insert(slices.Clone(d.snapshots), 0, s)
	slices.SortStableFunc(all, func(a, b *snapshot) int {
		return cmp.Or(cmp.Compare(b.meta.Term, a.meta.Term), cmp.Compare(b.meta.Index, a.meta.Index))
	})
	d.snapshots = all[:min(len(all), keptSnapshots)]
	return nil
}
