package main

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestModel checks that the model sees what is wrong.
func TestModel(t *testing.T) {
	a, b, c := attempt{1, 1}, attempt{2, 1}, attempt{2, 2}
	for _, x := range []struct {
		name string
		do   func(m *model)
		want string // "" is nothing wrong
	}{
		{"nothing", func(m *model) {
			m.leads("n1", 1)
			m.leads("n1", 1)
			m.leads("n2", 2)
			m.applied("n1", 0, record{2, 1, a})
			m.answered(a, outcome{Index: 2})
			m.answered(b, outcome{Err: "lost"})
			m.applied("n1", 1, record{3, 1, b})
			m.applied("n1", 2, record{4, 2, c})
			m.applied("n2", 0, record{2, 1, a})
			m.check("n1", []record{{2, 1, a}, {3, 1, b}, {4, 2, c}})
		}, ""},
		{"two leaders", func(m *model) { m.leads("n1", 1); m.leads("n2", 1) }, "both lead in term 1"},
		{"another record", func(m *model) {
			m.applied("n1", 0, record{2, 1, a})
			m.applied("n2", 0, record{2, 1, b})
		}, "elsewhere"},
		{"another index", func(m *model) {
			m.applied("n1", 0, record{2, 1, a})
			m.applied("n2", 0, record{3, 1, a})
		}, "elsewhere"},
		{"a gap", func(m *model) { m.applied("n1", 1, record{3, 1, a}) }, "nobody has those before"},
		{"twice", func(m *model) {
			m.applied("n1", 0, record{2, 1, a})
			m.applied("n1", 1, record{3, 1, a})
		}, "also at 2"},
		{"out of order", func(m *model) {
			m.applied("n1", 0, record{3, 2, a})
			m.applied("n1", 1, record{4, 1, b})
		}, "after"},
		{"refused, then there", func(m *model) {
			m.answered(a, outcome{Err: "no", Refused: true})
			m.applied("n1", 0, record{2, 1, a})
		}, "was refused"},
		{"there, then refused", func(m *model) {
			m.applied("n1", 0, record{2, 1, a})
			m.answered(a, outcome{Err: "no", Refused: true})
		}, `told "no"`},
		{"committed, not there", func(m *model) { m.answered(a, outcome{Index: 2}) }, "told that it is at 2"},
		{"less in the end", func(m *model) { m.applied("n1", 0, record{2, 1, a}); m.check("n2", nil) }, "0 records in the end"},
		{"a term goes back", func(m *model) {
			d := newDisk("n1", m)
			for _, term := range []uint64{2, 1} {
				if err := d.SetUint64([]byte(keyTerm), term); err != nil {
					m.wrong("%v", err)
				}
			}
		}, "goes back from 2 to 1"},
		{"two votes", func(m *model) { vote(m, newDisk("n1", m), "n2"); vote(m, newDisk("n2", m), "n3") }, ""},
		{"two votes of one", func(m *model) {
			d := newDisk("n1", m)
			vote(m, d, "n2")
			vote(m, d.copy(), "n3")
		}, "has voted for n2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := newModel(nil)
			x.do(m)
			got := strings.Join(m.problems(), "\n")
			if (x.want == "") != (got == "") || !strings.Contains(got, x.want) {
				t.Errorf("got %q, want %q", got, x.want)
			}
		})
	}
}

func vote(m *model, d *disk, candidate string) {
	if err := d.SetUint64([]byte(keyVoteTerm), 1); err != nil {
		m.wrong("%v", err)
	}
	if err := d.Set([]byte(keyVote), []byte(candidate)); err != nil {
		m.wrong("%v", err)
	}
}

// TestDiskCopy checks that a copy has what the disk had, and that neither knows what is written to the other.
func TestDiskCopy(t *testing.T) {
	m := newModel(nil)
	d := newDisk("n1", m)
	vote(m, d, "n2")
	if err := d.StoreLogs([]*raft.Log{{Index: 1, Term: 1}, {Index: 2, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	whole, _ := d.Create(1, 2, 1, raft.Configuration{}, 1, nil)
	if _, err := whole.Write([]byte("state")); err != nil {
		t.Fatal(err)
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(1, 3, 1, raft.Configuration{}, 1, nil); err != nil { // not closed: it is not there
		t.Fatal(err)
	}
	c := d.copy()
	if err := d.DeleteRange(1, 2); err != nil {
		t.Fatal(err)
	}
	if last, _ := c.LastIndex(); last != 2 {
		t.Errorf("the copy ends at entry %d, want 2", last)
	}
	if v, err := c.Get([]byte(keyVote)); string(v) != "n2" {
		t.Errorf("the copy has the vote %q, %v, want n2", v, err)
	}
	all, _ := c.List()
	if len(all) != 1 || all[0].Index != 2 || all[0].Size != 5 {
		t.Errorf("the copy has snapshots %v, want one at 2 of 5 bytes", all)
	}
}
