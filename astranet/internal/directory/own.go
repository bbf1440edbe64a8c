package directory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/virtnet/virtnet/astranet/internal/route"
)

// How many pages an entry has of what. With that of certificates they are MaxPages at most.
const (
	maxLinkPages    = 63
	maxServicePages = MaxPages - maxLinkPages - 1
)

// ErrFull is the error of saying more of oneself than an entry holds: some 50,000 services, 10,000 links.
var ErrFull = errors.New("the directory has no room for more of one node")

// own is what this node says of itself, as it will be published.
type own struct {
	dirty    bool   // it is not what was published last
	version  uint64 // that was published last, or the highest that another has told of this node
	flags    Flags
	addrs    []string
	links    shelf[route.Link]
	services shelf[Service]
	chain    *page
	signed   uint64 // version in which the chain came
	renewed  bool   // it had to be published above another's version, since the last Tick
	later    bool   // it is to be published at the next Tick
	disputes int    // how many Ticks this has been so
}

func newOwn() own {
	return own{
		dirty: true,
		links: shelf[route.Link]{kind: pageLinks, most: maxLinkPages, encode: appendLink,
			compare: func(a, b route.Link) int { return cmp.Compare(a.Peer, b.Peer) }},
		services: shelf[Service]{kind: pageServices, most: maxServicePages, encode: appendService, compare: compareKey},
	}
}

func comparePeer(l route.Link, peer uint64) int { return cmp.Compare(l.Peer, peer) }

// SetLink says that this node has a link with another, at that cost. It counts when the other says so too. The error is ErrFull.
func (d *Directory) SetLink(peer uint64, cost uint32) error {
	if peer == 0 || peer == d.id {
		return fmt.Errorf("a link with %x is none", peer)
	}
	return d.setOwn(func(o *own) (bool, bool) { return o.links.put(route.Link{Peer: peer, Cost: cost}) })
}

// DropLink takes SetLink back.
func (d *Directory) DropLink(peer uint64) {
	_ = d.setOwn(func(o *own) (bool, bool) { return o.links.remove(route.Link{Peer: peer}), true })
}

// Put says that this node serves s, whose Host counts for nothing; or, if it does already at that name and port, how. The
// error is ErrFull, or that s is not as a service must be.
func (d *Directory) Put(s Service) error {
	if err := s.check(); err != nil {
		return err
	}
	s.Host = d.id
	return d.setOwn(func(o *own) (bool, bool) { return o.services.put(s) })
}

// Remove takes Put back.
func (d *Directory) Remove(name string, port uint32) {
	_ = d.setOwn(func(o *own) (bool, bool) { return o.services.remove(Service{Name: name, Port: port}), true })
}

// SetFlags says what this node is.
func (d *Directory) SetFlags(f Flags) {
	_ = d.setOwn(func(o *own) (bool, bool) {
		changed := o.flags != f
		o.flags = f
		return changed, true
	})
}

// SetAddrs says where this node can be linked with: at most 16 texts of at most 255 bytes.
func (d *Directory) SetAddrs(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return fmt.Errorf("%d addresses, at most %d", len(addrs), MaxAddrs)
	}
	if i := slices.IndexFunc(addrs, func(a string) bool { return len(a) > MaxAddr || !utf8.ValidString(a) }); i >= 0 {
		return fmt.Errorf("address %q is longer than %d bytes, or not UTF-8", addrs[i], MaxAddr)
	}
	return d.setOwn(func(o *own) (bool, bool) {
		changed := !slices.Equal(o.addrs, addrs)
		o.addrs = slices.Clone(addrs)
		return changed, true
	})
}

// setOwn changes what this node says of itself. It is signed when somebody is to be told, so that many changes at once are one.
func (d *Directory) setOwn(change func(*own) (changed, ok bool)) error {
	d.mu.Lock()
	defer d.unlock()
	changed, ok := change(&d.own)
	if !ok {
		return ErrFull
	}
	if changed {
		d.touch()
	}
	return nil
}

// touch says that this node's entry is to be published anew.
func (d *Directory) touch() {
	d.own.dirty = true
	for _, f := range d.feeds {
		f.wake()
	}
}

// publish makes an entry of what this node says of itself, if that has changed.
func (d *Directory) publish() {
	o := &d.own
	if !o.dirty {
		return
	}
	o.dirty = false
	e, err := o.entry(d.cfg)
	if err != nil {
		o.later = true
		d.report(fmt.Errorf("this node's own entry cannot be published: %w", err))
		return
	}
	o.version = e.version
	d.replace(e, nil)
}

// entry makes the next version.
func (o *own) entry(c Config) (*entry, error) {
	version := o.version + 1
	if version > maxVersion {
		return nil, errors.New("another has used up the versions of this id")
	}
	chain, sign := c.Signer.Key()
	h := head{id: c.ID, life: c.Life, version: version, flags: o.flags, name: c.Name, addrs: o.addrs}
	parts, err := o.parts(&h, chain)
	if err != nil {
		return nil, err
	}
	signed := h.append(make([]byte, 0, 64+len(h.pages)*20))
	sig, err := sign(append([]byte(headContext), signed...))
	if err != nil {
		return nil, err
	}
	return newEntry(h, string(signed), string(sig), parts)
}

// parts writes the pages, and names them in the head.
func (o *own) parts(h *head, chain string) (parts []*page, err error) {
	if chain != "" {
		raw := string([]byte{pageChain}) + chain
		if o.chain == nil || o.chain.raw != raw {
			if o.chain, err = parsePage(strings.Clone(raw)); err != nil {
				return nil, err
			}
			o.signed = h.version
		}
		parts, h.pages = append(parts, o.chain), append(h.pages, ref{o.signed, o.chain.hash})
	}
	if parts, h.pages, err = o.links.publish(h.version, parts, h.pages); err != nil {
		return nil, err
	}
	parts, h.pages, err = o.services.publish(h.version, parts, h.pages)
	return parts, err
}

// outdo has this node publish above a version that others have of it: from a former life, or from somebody with its key.
// Of such there may be two, who would do nothing else: so it is done once between two Ticks.
func (d *Directory) outdo(version uint64) {
	o := &d.own
	o.version = max(o.version, version)
	o.chain = nil
	o.links.renew() // who has pages of that version has not these
	o.services.renew()
	if o.renewed {
		o.later = true // and so is what else changes
		return
	}
	o.renewed = true
	d.touch()
}
