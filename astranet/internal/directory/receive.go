package directory

import (
	"errors"
	"fmt"
)

// incoming is the entry that is just coming from a neighbour: a head, and then its pages. There is one at a time, so what somebody
// may send that is not checked yet is bounded.
type incoming struct {
	left    int            // pages that are still to come; of an entry that is of no interest too
	entry   *headMessage   // nil if it is of no interest
	parts   []*page        // nil where one is missing
	missing map[hash][]int // where
}

// Receive takes a message from the neighbour. An error is the neighbour's fault: the link is to be ended. It may be called by one
// goroutine at a time.
func (f *Feed) Receive(msg []byte) error {
	if len(msg) == 0 || len(msg) > MaxMessage {
		return malformed("message of %d bytes", len(msg))
	}
	kind, body := msg[0], string(msg[1:])
	if f.in.left > 0 && kind != msgPage {
		return malformed("%d pages of %x are missing", f.in.left, f.in.id())
	}
	switch kind {
	case msgDigest:
		g, err := decodeDigest(body)
		if err != nil {
			return err
		}
		f.locked(func() { f.compare(g) })
	case msgWant:
		ids, err := decodeWant(body)
		if err != nil {
			return err
		}
		f.locked(func() {
			for _, id := range ids {
				if f.d.nodes[id] != nil {
					f.owe(id, 0)
				}
			}
		})
	case msgHead:
		m, err := decodeHeadMessage(body)
		if err != nil {
			return err
		}
		f.locked(func() { f.begin(m) })
		return f.proceed()
	case msgPage:
		if err := f.in.page(body); err != nil {
			return err
		}
		return f.proceed()
	}
	return nil
}

// locked calls do with d.mu held, if the Feed is open.
func (f *Feed) locked(do func()) {
	f.d.mu.Lock()
	defer f.d.unlock()
	if !f.closed {
		do()
	}
}

// begin looks whether a head is news, and which of its pages are missing. Whom it is news of is not sure yet.
func (f *Feed) begin(m headMessage) {
	f.in = incoming{left: m.pages}
	var known *entry
	if r := f.d.nodes[m.id]; r != nil {
		known = r.entry
		theirs := stampOf(m.version, m.signed)
		switch {
		case known.stamp == theirs:
			f.has(m.id)
			return
		case known.stamp.newer(theirs):
			f.owe(m.id, known.stamp.since(theirs))
			return
		}
	}
	f.in.begin(m, known.byHash())
}

func (in *incoming) begin(m headMessage, base map[hash]*page) {
	in.entry = &m
	in.parts = make([]*page, len(m.head.pages))
	in.missing = make(map[hash][]int)
	for i, r := range m.head.pages {
		if in.parts[i] = base[r.hash]; in.parts[i] == nil {
			in.missing[r.hash] = append(in.missing[r.hash], i)
		}
	}
}

func (in *incoming) id() uint64 {
	if in.entry == nil {
		return 0
	}
	return in.entry.id
}

// page takes a page of the entry that is coming.
func (in *incoming) page(raw string) error {
	if in.left == 0 {
		return malformed("a page of nothing")
	}
	in.left--
	if in.entry == nil {
		return nil
	}
	p, err := parsePage(raw)
	if err != nil {
		return err
	}
	for _, i := range in.missing[p.hash] {
		in.parts[i] = p
	}
	delete(in.missing, p.hash)
	return nil
}

// proceed goes on when all pages that the neighbour has announced are there.
func (f *Feed) proceed() error {
	in := f.in
	if in.entry == nil || in.left > 0 {
		return nil
	}
	f.in = incoming{}
	if len(in.missing) > 0 {
		if in.entry.pages == len(in.parts) {
			return malformed("pages of %x are not those that it has", in.id())
		}
		f.locked(func() { f.want(in.id()) }) // it took us for knowing more than we do
		return nil
	}
	e, err := newEntry(in.entry.head, in.entry.signed, in.entry.sig, in.parts)
	if err != nil {
		return err
	}
	if err := f.d.verify(e); errors.Is(err, ErrForged) {
		return fmt.Errorf("node %x, %q: %w", e.id, e.name, err)
	} else if err != nil {
		f.locked(func() { f.d.report(fmt.Errorf("node %x, %q: %w", e.id, e.name, err)) })
		return nil
	}
	f.locked(func() { f.d.accept(e, f) })
	return nil
}
