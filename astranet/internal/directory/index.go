package directory

import (
	"slices"
	"strings"
)

// An index is the services of the nodes that can be reached, by name. What it gives out does not change any more.
type index struct {
	byName map[string]*instances
	size   int
	recent journal
}

// instances are those of one service, by host and port.
type instances struct {
	all    []Service
	shared bool // somebody has got all: copy before writing
}

func (x *index) lookup(name string) []Service {
	s := x.byName[name]
	if s == nil {
		return nil
	}
	s.shared = true
	return s.all
}

// change replaces services of a node by others; both are in order.
func (x *index) change(old, new []Service) {
	for len(old)+len(new) > 0 {
		switch {
		case len(old) == 0 || len(new) > 0 && compareKey(new[0], old[0]) < 0:
			x.put(new[0])
			new = new[1:]
		case len(new) == 0 || compareKey(old[0], new[0]) < 0:
			x.remove(old[0])
			old = old[1:]
		default:
			if old[0] != new[0] {
				x.put(new[0])
			}
			old, new = old[1:], new[1:]
		}
	}
}

func (x *index) put(s Service) {
	// A part of a page would keep the whole page.
	s.Tags.raw = strings.Clone(s.Tags.raw)
	of := x.byName[s.Name]
	if of == nil {
		s.Name = strings.Clone(s.Name)
		of = new(instances)
		x.byName[s.Name] = of
	} else {
		s.Name = of.all[0].Name
	}
	i, found := slices.BinarySearchFunc(of.all, s, compareInstance)
	of.own()
	if found {
		of.all[i] = s
	} else {
		of.all = slices.Insert(of.all, i, s)
		x.size++
	}
	x.recent.add(Change{Service: s})
}

func (x *index) remove(s Service) {
	of := x.byName[s.Name]
	if of == nil {
		return
	}
	i, found := slices.BinarySearchFunc(of.all, s, compareInstance)
	if !found {
		return
	}
	of.own()
	x.recent.add(Change{Service: of.all[i], Gone: true})
	x.size--
	if of.all = slices.Delete(of.all, i, i+1); len(of.all) == 0 {
		delete(x.byName, s.Name)
	}
}

func (of *instances) own() {
	if of.shared {
		of.all, of.shared = slices.Clone(of.all), false
	}
}

// A Change is one of a service that can be reached: it is there, perhaps with other properties than before, or is gone.
type Change struct {
	Service
	Gone bool
}

// journalSize is how many changes are kept for those who follow them.
const journalSize = 4096

// A journal is the last changes.
type journal struct {
	count uint64   // of all there were
	last  []Change // a ring: the change number n is at n % journalSize
	wait  chan struct{}
}

func (j *journal) add(c Change) {
	if len(j.last) < journalSize {
		j.last = append(j.last, c)
	} else {
		j.last[j.count%journalSize] = c
	}
	j.count++
	if j.wait != nil {
		close(j.wait)
		j.wait = nil
	}
}

// after appends the changes after the first seen ones; ok is false if there were too many.
func (j *journal) after(seen uint64, to []Change) (all []Change, ok bool) {
	if seen > j.count || j.count-seen > uint64(len(j.last)) {
		return to, false
	}
	for ; seen < j.count; seen++ {
		to = append(to, j.last[seen%journalSize])
	}
	return to, true
}
