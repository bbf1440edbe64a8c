package astranet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/virtnet/virtnet/mux"
)

// The control stream of a link carries messages both ways. docs/astranet.md, section 3.
//
//	message   kind 1 byte | length 3 | payload
//	services  instances: what 1 (1: there is one, 0: no longer) | port 4 | length of name 1 | name
//	call      nothing: open a session with me. To the node with the lower id
//	all       nothing: there are no other services than those told on this link
//
// A receiver ignores messages of a kind that it does not know.
const (
	msgServices = 1
	msgCall     = 2
	msgAll      = 3

	maxMessage = 64 << 10
	// mostServices is how many instances of services a node may announce, and mostInstances how many of one name. One takes
	// about 400 bytes at each neighbour.
	mostServices  = 1 << 16
	mostInstances = 1 << 12
)

// control serves the control stream until the link ends.
func (l *link) control(st *mux.Stream) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.tell(st)
	}()
	err := l.listen(st)
	if l.mux.Err() == nil {
		l.node.log.Warn("a neighbour has sent what is no control message", "neighbour", l.peer.text(), "why", err)
		l.end(linkDenied, err.Error())
	}
	_ = st.Close()
	<-done
}

// tell writes what there is to tell.
func (l *link) tell(st *mux.Stream) {
	n := l.node
	var out []byte
	for {
		n.mu.Lock()
		for l.up && len(l.news) == 0 && !l.calls && l.toldAll {
			l.wake.Wait()
		}
		if !l.up {
			n.mu.Unlock()
			return
		}
		out = out[:0]
		if l.calls {
			l.calls = false
			out = append(out, msgCall, 0, 0, 0)
		}
		out = l.appendNewsLocked(out)
		if len(l.news) == 0 && !l.toldAll {
			l.toldAll = true
			out = append(out, msgAll, 0, 0, 0)
		}
		n.mu.Unlock()
		if _, err := st.Write(out); err != nil {
			return
		}
	}
}

// appendNewsLocked takes some of the news, as many as go into a message.
func (l *link) appendNewsLocked(b []byte) []byte {
	if len(l.news) == 0 {
		return b
	}
	begin := len(b)
	b = append(b, 0, 0, 0, 0)
	for s, there := range l.news {
		if len(b)-begin > maxMessage-300 {
			break
		}
		what := byte(0)
		if there {
			what = 1
		}
		b = append(b, what)
		b = binary.BigEndian.AppendUint32(b, s.Port)
		b = append(b, byte(len(s.Service)))
		b = append(b, s.Service...)
		delete(l.news, s)
	}
	binary.BigEndian.PutUint32(b[begin:], msgServices<<24|uint32(len(b)-begin-4))
	return b
}

// announceLocked tells all neighbours of a service of this node's, or that it has gone. It is called with node.mu held.
func (n *node) announceLocked(s ServiceId, there bool) {
	if !n.set.announces {
		return
	}
	for _, p := range n.peers {
		for _, l := range p.links {
			l.announceLocked(s, there)
		}
	}
}

// announceLocked notes what is to be told. What has not been told yet, and has changed back, need not be: so there is no more of
// it than there are services and the neighbour knows. It is called with node.mu held.
func (l *link) announceLocked(s ServiceId, there bool) {
	if was, pending := l.news[s]; pending && was != there {
		delete(l.news, s)
		return
	}
	l.news[s] = there
	l.wake.Signal()
}

// callLocked asks the other node to open a session. It is called with node.mu held.
func (l *link) callLocked() {
	l.calls = true
	l.wake.Signal()
}

// listen reads what the other end tells.
func (l *link) listen(r io.Reader) error {
	var head [4]byte
	buf := make([]byte, 0, 512)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:]) & (1<<24 - 1))
		if size > maxMessage {
			return fmt.Errorf("a control message of %d bytes, more than %d", size, maxMessage)
		}
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		switch head[0] {
		case msgServices:
			if err := l.heard(buf); err != nil {
				return err
			}
		case msgCall:
			l.called()
		case msgAll:
			l.heardAll()
		}
	}
}

// heard takes a message about services.
func (l *link) heard(b []byte) error {
	for len(b) > 0 {
		if len(b) < 6 || len(b) < 6+int(b[5]) {
			return errServices
		}
		end := 6 + int(b[5]) // not of type byte
		s := ServiceId{Service: string(b[6:end]), Host: l.peer.id, Port: binary.BigEndian.Uint32(b[1:]), Node: l.peer.name}
		there := b[0] == 1
		b = b[end:]
		if s.Service == "" || checkService(s.Service) != nil {
			continue // a later version may know what it is
		}
		if err := l.heardOf(s, there); err != nil {
			return err
		}
	}
	return nil
}

// heardOf takes it that there is a service, or no longer.
func (l *link) heardOf(s ServiceId, there bool) error {
	n, p := l.node, l.peer
	if !n.set.Rules.allow(BindAction, p.name, "", s.Service) {
		if there && !l.barred.Swap(true) {
			n.log.Warn("a service is passed over: this node's rules forbid its node to bind it. There may be others", "service", s.Service, "node", p.text())
		}
		return nil
	}
	in := &n.services
	if !n.set.Rules.allow(DialAction, n.name, p.name, s.Service) {
		in = &n.hidden
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := p.services[s]
	switch {
	case there && !known && l.up:
		if len(p.services) >= mostServices || in.count(s.Service, s.Host) >= mostInstances {
			return fmt.Errorf("more than %d services, or than %d of one name", mostServices, mostInstances)
		}
		p.services[s] = struct{}{}
		in.add(s)
	case !there && known:
		delete(p.services, s)
		in.remove(s)
	}
	if there {
		if l.up {
			l.known[s] = struct{}{}
		}
		return nil
	}
	delete(l.known, s)
	for _, other := range p.links { // or what one link tells and another takes back would pile up
		delete(other.known, s)
	}
	return nil
}

// heardAll takes it that there are no services but those told on this link. What another link has told before, and not taken back
// when it ended, is forgotten.
func (l *link) heardAll() {
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.complete {
		return // it was said before, and to look through all services is much work for four bytes
	}
	l.complete = true
	l.peer.sweepLocked()
	n.changedLocked()
}

// sweepLocked forgets services that no link tells of any more. It is called with node.mu held.
func (p *peer) sweepLocked() {
	n := p.node
	for _, l := range p.links {
		if !l.complete {
			return // it may be about to tell of them
		}
	}
	for s := range p.services {
		told := slices.ContainsFunc(p.links, func(l *link) bool {
			_, told := l.known[s]
			return told
		})
		if !told {
			delete(p.services, s)
			n.services.remove(s)
			n.hidden.remove(s)
		}
	}
}

var errServices = errors.New("a malformed message about services")

// called opens a session, since the other node has none and wants one. If this one does not know yet that the last has ended, it opens
// one when it does.
func (l *link) called() {
	n, p := l.node, l.peer
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id < p.id && l.up {
		p.wanted = true
		n.wantedLocked(p)
	}
}

// wantedLocked opens a session if the other node wants one and there is none. It is called with mu held.
func (n *node) wantedLocked(p *peer) {
	if !p.wanted || p.opening || n.closed || p.sessionLocked() != nil {
		return
	}
	p.wanted = false
	if len(p.links) > 0 {
		p.opening = true
		n.work.Go(func() { _ = n.beginSession(n.ctx, p) })
	}
}
