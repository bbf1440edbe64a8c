package directory

import "slices"

// A shelf is what a node says of itself, of one kind, on pages: sorted items, cut so that a change touches one page, as the leaves
// of a B-tree.
type shelf[T comparable] struct {
	kind    byte
	most    int // pages
	compare func(a, b T) int
	encode  func([]byte, T) []byte
	sheets  []*sheet[T] // none is empty
	scratch []byte
}

// sheet is a page being written.
type sheet[T any] struct {
	items   []T
	size    int    // in bytes, when encoded
	page    *page  // as it was published; nil if it has changed since
	changed uint64 // the version in which it was
}

// find returns the sheet where an item is or would be, and its place on it. There must be a sheet.
func (s *shelf[T]) find(item T) (i, place int, found bool) {
	i, _ = slices.BinarySearchFunc(s.sheets, item, func(p *sheet[T], item T) int {
		return s.compare(p.items[len(p.items)-1], item)
	})
	i = min(i, len(s.sheets)-1)
	place, found = slices.BinarySearchFunc(s.sheets[i].items, item, s.compare)
	return i, place, found
}

func (s *shelf[T]) sizeOf(item T) int {
	s.scratch = s.encode(s.scratch[:0], item)
	return len(s.scratch)
}

// put adds an item, or replaces that which compares equal. It tells whether anything has changed; ok is false if the shelf is full.
func (s *shelf[T]) put(item T) (changed, ok bool) {
	if len(s.sheets) == 0 {
		s.sheets = []*sheet[T]{{items: []T{item}, size: 1 + s.sizeOf(item)}}
		return true, true
	}
	i, place, found := s.find(item)
	p := s.sheets[i]
	size := p.size + s.sizeOf(item)
	switch {
	case found && p.items[place] == item:
		return false, true
	case found:
		size -= s.sizeOf(p.items[place])
	}
	if size > MaxPage && len(s.sheets) >= s.most {
		return false, false
	}
	if found {
		p.items[place] = item
	} else {
		p.items = slices.Insert(p.items, place, item)
	}
	p.size, p.page = size, nil
	if size > MaxPage {
		s.split(i, place)
	}
	return true, true
}

// split cuts a sheet that has become too large at a place. In the middle, if it is not the last that has grown at its end, as it
// does when items come in order.
func (s *shelf[T]) split(i, place int) {
	p := s.sheets[i]
	n := len(p.items) - 1
	if place < n || i < len(s.sheets)-1 {
		n = 0
		for size := 0; size < p.size/2; n++ { // an item is much smaller than half of a page
			size += s.sizeOf(p.items[n])
		}
	}
	rest := &sheet[T]{items: slices.Clone(p.items[n:]), size: 1}
	for _, item := range rest.items {
		rest.size += s.sizeOf(item)
	}
	clear(p.items[n:])
	p.items = p.items[:n]
	p.size -= rest.size - 1
	s.sheets = slices.Insert(s.sheets, i+1, rest)
}

// remove removes an item, and tells whether it was there.
func (s *shelf[T]) remove(item T) bool {
	if len(s.sheets) == 0 {
		return false
	}
	i, place, found := s.find(item)
	if !found {
		return false
	}
	p := s.sheets[i]
	p.size -= s.sizeOf(p.items[place])
	p.items = slices.Delete(p.items, place, place+1)
	p.page = nil
	switch {
	case len(p.items) == 0:
		s.sheets = slices.Delete(s.sheets, i, i+1)
	case i > 0 && s.sheets[i-1].size+p.size <= MaxPage/2:
		s.join(i - 1)
	case i+1 < len(s.sheets) && p.size+s.sheets[i+1].size <= MaxPage/2:
		s.join(i)
	}
	return true
}

// join makes one of a sheet and the next.
func (s *shelf[T]) join(i int) {
	p, next := s.sheets[i], s.sheets[i+1]
	p.items = append(p.items, next.items...)
	p.size += next.size - 1
	p.page = nil
	s.sheets = slices.Delete(s.sheets, i+1, i+2)
}

// publish returns the pages, those that have changed as of that version.
func (s *shelf[T]) publish(version uint64, pages []*page, refs []ref) ([]*page, []ref, error) {
	for _, p := range s.sheets {
		if p.page == nil {
			raw := append(make([]byte, 0, p.size), s.kind)
			for _, item := range p.items {
				raw = s.encode(raw, item)
			}
			made, err := parsePage(string(raw))
			if err != nil {
				return nil, nil, err
			}
			p.page, p.changed = made, version
		}
		pages, refs = append(pages, p.page), append(refs, ref{p.changed, p.page.hash})
	}
	return pages, refs, nil
}

// renew has all pages published as of the next version.
func (s *shelf[T]) renew() {
	for _, p := range s.sheets {
		p.page = nil
	}
}
