package directory

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/astranet/internal/route"
)

func sampleHead() head {
	return head{
		id: 7, life: 1 << 63, version: 300, flags: Relay | 1<<40, name: "spiffe://mesh/ν", addrs: []string{"tcp/10.0.0.1:10000", ""},
		pages: []ref{{1, hashOf("a")}, {300, hashOf("b")}},
	}
}

// A head is read as it was written, and there is only one way to write it.
func FuzzHead(f *testing.F) {
	h := sampleHead()
	f.Add(h.append(nil))
	f.Add((&head{id: 1, life: 1, version: 1}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHead(string(b)); err == nil && !bytes.Equal(h.append(nil), b) {
			t.Errorf("%x is read as %+v", b, h)
		}
	})
}

func FuzzPage(f *testing.F) {
	tags, err := MakeTags("blue", "green")
	if err != nil {
		f.Fatal(err)
	}
	b := appendService([]byte{pageServices}, Service{Name: "a", Port: 1 << 24, Weight: 300, Flags: Unlisted, Tags: tags})
	f.Add(appendService(b, Service{Name: "b"}))
	f.Add(appendLink(appendLink([]byte{pageLinks}, route.Link{Peer: 1, Cost: 200}), route.Link{Peer: 2}))
	f.Add([]byte{200, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(string(b))
		if err != nil {
			return
		}
		again := b[:1:1]
		switch p.kind() {
		case pageServices:
			_ = eachService(p.raw, func(s Service) { again = appendService(again, s) })
		case pageLinks:
			links, _ := appendLinks(nil, p.raw)
			for _, l := range links {
				again = appendLink(again, l)
			}
		default:
			again = b
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x", b, again)
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(digest{first: 1, last: 9, all: []have{{1, stamp{1, 2}}, {9, stamp{1 << 62, 0}}}}.append(nil)[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := decodeDigest(string(b))
		if err == nil && !bytes.Equal(g.append(nil)[1:], b) {
			t.Errorf("%x is read as %+v", b, g)
		}
	})
}

// A neighbour may send what it likes, in whatever order: the directory stays consistent, and knows nobody who has not spoken.
func FuzzReceive(f *testing.F) {
	var all []byte
	for _, msg := range exchange(f) {
		all = append(append(all, byte(len(msg)>>8), byte(len(msg))), msg...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := New(Config{ID: 1, Life: 1}, epoch)
		feed, other := d.Open(func() {}), d.Open(func() {})
		for len(b) >= 2 {
			n := min(int(b[0])<<8|int(b[1]), len(b)-2)
			if feed.Receive(b[2:2+n]) != nil {
				break
			}
			b = b[2+n:]
			d.consistent(t)
		}
		for _, f := range []*Feed{feed, other} {
			for i := 0; len(f.Next(nil)) > 0; i++ {
				if i > 10_000 {
					t.Fatal("a feed has no end")
				}
			}
		}
	})
}

// exchange returns what a node with a link and two services sends.
func exchange(t testing.TB) [][]byte {
	d := New(Config{ID: 2, Life: 1}, epoch)
	for _, err := range []error{d.SetLink(1, 100), d.Put(serviceNo(1)), d.Put(serviceNo(2)), d.SetAddrs([]string{"tcp/h:1"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := d.Open(func() {})
	return drain(f)
}

// drain returns all that a feed has to send.
func drain(f *Feed) (all [][]byte) {
	for {
		msg := f.Next(nil)
		if len(msg) == 0 {
			return all
		}
		all = append(all, msg)
	}
}

func TestUvarint(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     uint64
		ok       bool
	}{
		{"zero", "\x00", 0, true},
		{"one byte", "\x7f", 127, true},
		{"two", "\x80\x01", 128, true},
		{"longer than need be", "\x80\x00", 0, false},
		{"cut off", "\x80", 0, false},
		{"nothing", "", 0, false},
		{"the highest", strings.Repeat("\xff", 9) + "\x01", 1<<64 - 1, true},
		{"higher", strings.Repeat("\xff", 9) + "\x02", 0, false},
		{"much higher", strings.Repeat("\xff", 20), 0, false},
	} {
		r := reader{rest: tt.in}
		if got := r.uvarint(1<<64 - 1); got != tt.want || (r.end() == nil) != tt.ok {
			t.Errorf("%s: got %d, %v, want %d, ok %v", tt.name, got, r.err, tt.want, tt.ok)
		}
	}
}

func TestTags(t *testing.T) {
	a, err := MakeTags("b", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := MakeTags("a", "b"); a != b || a.String() != "a b" || !a.Has("b") || a.Has("c") || (Tags{}).Has("") {
		t.Errorf("got %q and %q, want both a b", a, b)
	}
	for _, bad := range []string{"", strings.Repeat("x", 256), "\xff"} {
		if got, err := MakeTags(bad); err == nil {
			t.Errorf("%q: got %q, want an error", bad, got)
		}
	}
	var many []string
	for i := range MaxTags + 1 {
		many = append(many, strings.Repeat("x", i+1))
	}
	if _, err := MakeTags(many...); err == nil {
		t.Errorf("%d tags: no error", len(many))
	}
	big := []string{}
	for _, c := range "abcde" {
		big = append(big, strings.Repeat(string(c), 250))
	}
	if _, err := MakeTags(big...); err == nil {
		t.Error("1,250 bytes of tags: no error")
	}
}

// A shelf holds what a sorted list would, on pages that are not too full, and most of them half full.
func TestShelf(t *testing.T) {
	seeds(t, 20, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		o := newOwn()
		model := make(map[int]Service)
		span := 1 + s.rnd.IntN(3000)
		for i := range 5000 {
			k := s.rnd.IntN(span)
			svc := Service{Name: strings.Repeat("x", k%200) + serviceNo(k).Name}
			was, known := model[k]
			if s.rnd.IntN(3) == 0 {
				if o.services.remove(svc) != known {
					t.Fatalf("remove: got %v, want %v", !known, known)
				}
				delete(model, k)
				continue
			}
			svc.Weight = uint16(s.rnd.IntN(3))
			if k%50 == 0 {
				svc.Tags, _ = MakeTags(strings.Repeat("y", s.rnd.IntN(255)+1), strings.Repeat("z", 255))
			}
			if changed, ok := o.services.put(svc); !ok || changed != (!known || was != svc) {
				t.Fatalf("put: changed %v, ok %v", changed, ok)
			}
			model[k] = svc
			if i%500 == 0 {
				checkShelf(t, &o, model)
			}
		}
		checkShelf(t, &o, model)
	})
}

func checkShelf(t *testing.T, o *own, model map[int]Service) {
	t.Helper()
	want := make([]Service, 0, len(model))
	size := 0
	for _, s := range model {
		want = append(want, s)
		size += len(appendService(nil, s))
	}
	slices.SortFunc(want, compareKey)
	parts, refs, err := o.services.publish(1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []Service
	for i, p := range parts {
		if p.hash != refs[i].hash || len(p.raw) != o.services.sheets[i].size {
			t.Errorf("page %d has %d bytes, want %d", i, len(p.raw), o.services.sheets[i].size)
		}
		_ = eachService(p.raw, func(s Service) { got = append(got, s) })
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d services on the shelf, want %d", len(got), len(want))
	}
	if most := size/(MaxPage/4) + 2; len(parts) > most {
		t.Errorf("%d bytes are on %d pages, want at most %d", size, len(parts), most)
	}
}
