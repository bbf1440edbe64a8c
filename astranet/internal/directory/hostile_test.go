package directory

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// seal is the Signer of the node with that name, and a Verifier, in a mesh where nobody can sign for another: it takes no key, and
// the tests do not cheat.
type seal string

func (n seal) Key() (chain string, sign func([]byte) ([]byte, error)) {
	return "chain of " + string(n), func(data []byte) ([]byte, error) { return n.of(data), nil }
}

func (n seal) of(data []byte) []byte {
	sum := sha256.Sum256(append([]byte(n), data...))
	return sum[:]
}

func (seal) Verify(name, chain string, data, sig []byte) error {
	if chain != "chain of "+name || !bytes.Equal(sig, seal(name).of(data)) {
		return ErrForged
	}
	return nil
}

// sealed is the Config of a node in such a mesh, whose reports are collected.
func sealed(id uint64, name string, reports *[]error) Config {
	return Config{ID: id, Life: 1, Name: name, Signer: seal(name), Verifier: seal(""), Report: func(err error) {
		if reports != nil {
			*reports = append(*reports, err)
		}
	}}
}

func newSealed(id uint64, name string) *Directory { return New(sealed(id, name, nil), epoch) }

// open opens a feed that nobody waits for.
func open(d *Directory) *Feed { return d.Open(func() {}) }

// entries returns the messages that tell all that d has to whom knows nothing.
func entries(t *testing.T, d *Directory) (all [][]byte) {
	t.Helper()
	f := open(d)
	defer f.Close()
	must(t, f.Receive(digest{last: 1<<64 - 1}.append(nil)))
	for _, msg := range drain(f) {
		if msg[0] != msgDigest {
			all = append(all, msg)
		}
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// feed gives messages to a Feed until it wants no more.
func feed(f *Feed, msgs [][]byte) error {
	for _, msg := range msgs {
		if err := f.Receive(msg); err != nil {
			return err
		}
	}
	return nil
}

func clone(msgs [][]byte) (all [][]byte) {
	for _, msg := range msgs {
		all = append(all, bytes.Clone(msg))
	}
	return all
}

// No byte of what a node says of itself can be changed by those who pass it on.
func TestForged(t *testing.T) {
	d := newSealed(2, "two")
	must(t, d.SetLink(1, 100))
	must(t, d.Put(serviceNo(1)))
	good := entries(t, d)
	want := d.nodes[2].stamp
	for i := range good {
		for j := range good[i] {
			for _, flip := range []byte{1, 0x80} {
				bad := clone(good)
				bad[i][j] ^= flip
				v := newSealed(1, "one")
				_ = feed(open(v), bad)
				if r := v.nodes[2]; len(v.nodes) > 2 || r != nil && r.stamp != want {
					t.Fatalf("message %d, byte %d: %d nodes known, and %+v", i, j, len(v.nodes), r)
				}
				v.consistent(t)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	two := newSealed(2, "two")
	must(t, two.Put(serviceNo(1)))
	good := entries(t, two)
	pageOf := func(b ...byte) [][]byte { return [][]byte{good[0], append([]byte{msgPage}, b...)} }
	impostor := func() [][]byte { // signs as mallory, says it is two
		c := sealed(2, "two", nil)
		c.Signer = seal("mallory")
		return entries(t, New(c, epoch))
	}
	twice := func() [][]byte { // a service on two pages
		p := func(port uint32) *page {
			p, err := parsePage(string(appendService([]byte{pageServices}, Service{Name: "s", Port: port})))
			must(t, err)
			return p
		}
		return handMade(&head{id: 2, life: 1, version: 1}, p(2), p(2))
	}
	for _, tt := range []struct {
		name string
		msgs [][]byte
		want string
	}{
		{"nothing", [][]byte{{}}, "message of 0 bytes"},
		{"too long", [][]byte{make([]byte, MaxMessage+1)}, "message of 40961 bytes"},
		{"page of nothing", good[1:], "page of nothing"},
		{"something else between", [][]byte{good[0], good[0]}, "pages of 2 are missing"},
		{"page too large", pageOf(append([]byte{pageServices}, make([]byte, MaxPage)...)...), "page of 4097 bytes"},
		{"unknown page too large", pageOf(append([]byte{99}, make([]byte, MaxPage)...)...), "page of 4097 bytes"},
		{"other pages", slices.Concat(good[:1], [][]byte{{msgPage, 99, 1}, {msgPage, 99, 2}}), "not those that it has"},
		{"too many pages", handMade(&head{id: 2, life: 1, version: 1, pages: make([]ref, MaxPages+1)}), "1025, at most 1024"},
		{"another's name", impostor(), "forged"},
		{"a service twice", twice(), "out of order"},
		{"version too high", handMade(&head{id: 2, life: 1, version: maxVersion + 1}), "at most"},
		{"no version", handMade(&head{id: 2, life: 1}), "no id, life or version"},
		{"page of the future", handMade(&head{id: 2, life: 1, version: 1, pages: []ref{{changed: 2}}}), "at most 1"},
		{"a link with itself", selfLink(t), "a link with itself"},
		{"digest out of order", [][]byte{digest{1, 9, []have{{id: 3}, {id: 2}}}.append(nil)}, "out of order"},
		{"digest out of range", [][]byte{digest{1, 9, []have{{id: 10}}}.append(nil)}, "out of order"},
		{"half a digest", [][]byte{{msgDigest, 1, 2, 3}}, "cut off"},
		{"half an id", [][]byte{{msgWant, 1}}, "cut off"},
	} {
		v := newSealed(1, "one")
		err := feed(open(v), tt.msgs)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if v.nodes[2] != nil {
			t.Errorf("%s: the node is known", tt.name)
		}
	}
}

// handMade returns the messages of an entry of a mesh without credentials that no Directory would send.
func handMade(h *head, parts ...*page) (msgs [][]byte) {
	for _, p := range parts {
		h.pages = append(h.pages, ref{1, p.hash})
	}
	e := &entry{head: *h, signed: string(h.append(nil)), parts: parts}
	msgs = [][]byte{appendHead(nil, e, len(parts))}
	for _, p := range parts {
		msgs = append(msgs, append([]byte{msgPage}, p.raw...))
	}
	return msgs
}

func selfLink(t *testing.T) [][]byte {
	p, err := parsePage(string([]byte{pageLinks}) + "\x00\x00\x00\x00\x00\x00\x00\x02\x01")
	must(t, err)
	return handMade(&head{id: 2, life: 1, version: 1}, p)
}

// Who repeats what a node once said is told what it says now.
func TestReplayed(t *testing.T) {
	d := newSealed(2, "two")
	must(t, d.Put(serviceNo(1)))
	old := entries(t, d)
	d.Remove(serviceNo(1).Name, serviceNo(1).Port)
	v := newSealed(1, "one")
	must(t, feed(open(v), entries(t, d)))
	f := open(v)
	drain(f)
	must(t, feed(f, old))
	if n, _ := v.Node(2); n.Version != 2 {
		t.Errorf("version %d, want 2", n.Version)
	}
	if got := drain(f); len(got) == 0 || got[0][0] != msgHead {
		t.Errorf("answer %q, want what is known", got)
	}
	must(t, feed(open(d), old)) // the node itself
	if n, _ := d.Node(2); n.Version != 2 {
		t.Errorf("the node itself: version %d, want 2", n.Version)
	}
}

// Of contradictory entries all keep the same one, whichever they hear first.
func TestContradictory(t *testing.T) {
	a, b := newSealed(2, "two"), newSealed(2, "two")
	must(t, a.Put(serviceNo(1)))
	must(t, b.Put(serviceNo(2)))
	first, second := entries(t, a), entries(t, b)
	v, w := newSealed(1, "one"), newSealed(3, "three")
	must(t, feed(open(v), slices.Concat(first, second)))
	must(t, feed(open(w), slices.Concat(second, first)))
	if v.nodes[2].stamp != w.nodes[2].stamp {
		t.Errorf("one has %v, the other %v", v.nodes[2].stamp, w.nodes[2].stamp)
	}
	// And the node itself says something newer than either.
	must(t, feed(open(a), entries(t, v)))
	must(t, feed(open(a), second))
	if s := a.nodes[2].stamp; s.newer(v.nodes[2].stamp) != (a.nodes[2].stamp != v.nodes[2].stamp) {
		t.Errorf("the node itself is at %v, the others at %v", s, v.nodes[2].stamp)
	}
}

// Nobody gets the id of another, and everybody hears who has tried.
func TestConflict(t *testing.T) {
	var reports []error
	v := New(sealed(1, "one", &reports), epoch)
	f := open(v)
	must(t, feed(f, entries(t, newSealed(2, "two"))))
	for _, id := range []uint64{1, 2} {
		reports = nil
		m := newSealed(id, "mallory")
		m.own.version = 100
		must(t, feed(f, entries(t, m)))
		if len(reports) != 1 || !errors.Is(reports[0], ErrConflict) || !strings.Contains(reports[0].Error(), "mallory") {
			t.Errorf("id %d: reports %v, want one with ErrConflict", id, reports)
		}
	}
	if n, _ := v.Node(2); n.Name != "two" {
		t.Errorf("node 2 is %q", n.Name)
	}
}

// Pages that are kept back are asked for, and hinder nobody else from telling them.
func TestWithheld(t *testing.T) {
	d := newSealed(2, "two")
	must(t, d.Put(serviceNo(1)))
	all := entries(t, d)
	v := newSealed(1, "one")
	f, honest := open(v), open(v)
	drain(f)
	h, err := decodeHeadMessage(string(all[0][1:]))
	must(t, err)
	e := &entry{sig: h.sig, signed: h.signed}
	must(t, f.Receive(appendHead(nil, e, 0)))
	if got := drain(f); len(got) != 1 || !bytes.Equal(got[0], appendWant(nil, []uint64{2})) {
		t.Errorf("got %x, want that all is asked for", got)
	}
	must(t, feed(honest, all))
	if n, known := v.Node(2); !known || n.Name != "two" {
		t.Errorf("got %+v, %v", n, known)
	}
}

// A link counts when both ends claim it: who claims links with all is linked with none, and no one's services are seen for it.
func TestOneSidedLinks(t *testing.T) {
	v, m := newSealed(1, "one"), newSealed(2, "mallory")
	for id := uint64(1); id < 100; id++ {
		if id != 2 {
			must(t, m.SetLink(id, 1))
		}
	}
	must(t, m.Put(serviceNo(1)))
	must(t, feed(open(v), entries(t, m)))
	if n, known := v.Node(2); !known || n.Reachable || len(v.Services(serviceNo(1).Name)) > 0 {
		t.Errorf("known %v, reachable %v", known, n.Reachable)
	}
	must(t, v.SetLink(2, 7000))
	if p, ok := v.Graph().Cost([]uint64{1, 2}); !ok || p != 7000 {
		t.Errorf("cost %d, %v, want 7000: the higher counts", p, ok)
	}
	if len(v.Services(serviceNo(1).Name)) != 1 {
		t.Error("the service is not seen")
	}
}

// However many nodes somebody invents, what is kept of them is bounded, and those that are there stay.
func TestBounds(t *testing.T) {
	var reports []error
	c := sealed(1, "one", &reports)
	c.Limits = Limits{Nodes: 50, Gone: 20, IDs: 4, Bytes: 1 << 19}
	v := New(c, epoch)
	f := open(v)
	two := newSealed(2, "two")
	must(t, two.SetLink(1, 1))
	must(t, v.SetLink(2, 1))
	must(t, feed(f, entries(t, two)))
	for i := range uint64(200) {
		must(t, feed(f, entries(t, newSealed(1000+i, "mallory"))))
	}
	if v.ids["mallory"] != 4 {
		t.Errorf("%d ids of one name, want 4", v.ids["mallory"])
	}
	for i := range uint64(200) {
		must(t, feed(f, entries(t, newSealed(2000+i, fmt.Sprint("sybil", i)))))
	}
	if len(v.nodes) != 50 {
		t.Errorf("%d nodes, want 50", len(v.nodes))
	}
	v.Tick(epoch.Add(time.Second))
	if len(v.nodes) != 22 {
		t.Errorf("%d nodes after a while, want 20 that are gone and 2 that are not", len(v.nodes))
	}
	big := newSealed(3, "big")
	for i := range 40_000 {
		must(t, big.Put(serviceNo(i)))
	}
	reports = nil
	must(t, feed(f, entries(t, big)))
	if v.nodes[3] != nil || len(reports) != 1 || !errors.Is(reports[0], ErrNoRoom) {
		t.Errorf("reports %v, want ErrNoRoom", reports)
	}
	if n, known := v.Node(2); !known || !n.Reachable {
		t.Error("the neighbour was forgotten")
	}
	v.consistent(t)
	if err := feed(f, [][]byte{appendWant(nil, make([]uint64, maxDigest+1))}); err == nil {
		t.Error("too many wanted: no error")
	}
}

// Two nodes with one key and one id outdo each other once a second, and say so.
func TestTwins(t *testing.T) {
	s := newSim(t, 1)
	s.delay = func() time.Duration { return time.Millisecond }
	conflicts := 0
	s.report = func(err error) {
		if !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
		conflicts++
	}
	a, b, c := s.node(Config{ID: 7}), s.node(Config{}), s.node(Config{ID: 7})
	s.link(a, b)
	s.link(b, c)
	s.run(time.Minute)
	if n, _ := b.Node(7); n.Version > 300 || conflicts == 0 {
		t.Errorf("after a minute: version %d, %d conflicts", n.Version, conflicts)
	}
	s.stop(c)
	s.unlink(a, b) // b has taken both for one
	s.link(a, b)
	s.run(time.Minute)
	s.check()
}

// doubting is a Verifier that believes what it is told to.
type doubting struct {
	seal
	not map[string]bool
}

var errRevoked = errors.New("revoked")

func (v doubting) Verify(name, chain string, data, sig []byte) error {
	if v.not[name] {
		return errRevoked
	}
	return v.seal.Verify(name, chain, data, sig)
}

// Whom to believe may change: what is not believed is no fault of who passes it on, and is asked for again.
func TestRevoked(t *testing.T) {
	var reports []error
	c := sealed(1, "one", &reports)
	not := map[string]bool{"two": true}
	c.Verifier = doubting{not: not}
	v, two := New(c, epoch), newSealed(2, "two")
	f := open(v)
	must(t, feed(f, entries(t, two)))
	if v.nodes[2] != nil || len(reports) != 1 || !errors.Is(reports[0], errRevoked) {
		t.Fatalf("reports %v", reports)
	}
	delete(not, "two")
	must(t, two.SetLink(1, 1))
	back := open(two)
	drain(f)
	drain(back)
	f.Greet()
	must(t, feed(back, drain(f)))
	must(t, feed(f, drain(back)))
	if v.nodes[2] == nil {
		t.Fatal("not known after a second digest")
	}
	not["two"] = true
	v.Recheck()
	if v.nodes[2] != nil {
		t.Error("still known after it was revoked")
	}
	v.consistent(t)
}

// A node that is linked with all, and keeps back the pages of what others say, hinders nobody who has another way.
func TestHostileRelay(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.jitter()
		for range 10 {
			s.node(Config{})
		}
		s.mesh(3)
		m := s.node(Config{})
		for _, n := range s.nodes {
			s.link(n, m)
		}
		m.tamper = func(msg []byte) []byte {
			switch msg[0] {
			case msgPage:
				return nil
			case msgHead:
				h, err := decodeHeadMessage(string(msg[1:]))
				must(t, err)
				return appendHead(nil, &entry{sig: h.sig, signed: h.signed}, 0)
			}
			return msg
		}
		for i := range 50 {
			must(t, s.nodes[s.rnd.IntN(10)].Put(serviceNo(i)))
			s.run(100 * time.Millisecond)
		}
		s.run(10 * time.Second)
		for _, n := range s.nodes[:10] {
			if all, _ := n.All(); len(all) != 50 {
				t.Errorf("node %x knows %d services, want 50", n.id, len(all))
			}
		}
	})
}
