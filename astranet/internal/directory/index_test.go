package directory

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// pair returns two Directories that are linked, and what lets them talk until they are silent.
func pair(t testing.TB, a, b *Directory) (talk func()) {
	t.Helper()
	if err := a.SetLink(b.id, 100); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLink(a.id, 100); err != nil {
		t.Fatal(err)
	}
	fa, fb := open(a), open(b)
	return func() {
		for said := true; said; {
			said = false
			for _, way := range [][2]*Feed{{fa, fb}, {fb, fa}} {
				for _, msg := range drain(way[0]) {
					said = true
					if err := way[1].Receive(msg); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

func two() (a, b *Directory) {
	return New(Config{ID: 1, Life: 1}, epoch), New(Config{ID: 2, Life: 1}, epoch)
}

func TestServices(t *testing.T) {
	a, b := two()
	talk := pair(t, a, b)
	tags, _ := MakeTags("eu")
	must(t, b.Put(Service{Name: "web", Port: 8, Weight: 3, Flags: Unlisted, Tags: tags}))
	must(t, b.Put(Service{Name: "web", Port: 7}))
	must(t, a.Put(Service{Name: "web", Port: 9}))
	talk()
	want := []Service{{Name: "web", Host: 1, Port: 9}, {Name: "web", Host: 2, Port: 7}, {"web", 2, 8, 3, Unlisted, tags}}
	before := a.Services("web")
	if !slices.Equal(before, want) {
		t.Errorf("got %v, want %v", before, want)
	}
	b.Remove("web", 7)
	must(t, b.Put(Service{Name: "web", Port: 8}))
	talk()
	if got := a.Services("web"); !slices.Equal(got, []Service{want[0], {Name: "web", Host: 2, Port: 8}}) {
		t.Errorf("after changes: %v", got)
	}
	if !slices.Equal(before, want) {
		t.Errorf("what was given out has changed: %v", before)
	}
	a.DropLink(2)
	if got := a.Services("web"); !slices.Equal(got, want[:1]) {
		t.Errorf("without a route: %v", got)
	}
}

// Who follows the changes knows what is, however seldom it looks.
func TestChanges(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		a, b := two()
		talk := pair(t, a, b)
		known, seen := make(map[string]Service), uint64(0)
		var buf []Change
		for range 100 {
			_, _, next, _ := a.Changes(seen, nil)
			for range s.rnd.IntN(10) {
				d := []*Directory{a, b}[s.rnd.IntN(2)]
				if i := s.rnd.IntN(30); s.rnd.IntN(2) == 0 {
					must(t, d.Put(Service{Name: serviceNo(i).Name, Weight: uint16(s.rnd.IntN(9))}))
				} else {
					d.Remove(serviceNo(i).Name, 0)
				}
				if s.rnd.IntN(50) == 0 {
					for i := range 5000 {
						must(t, d.Put(serviceNo(i)))
					}
				}
			}
			switch s.rnd.IntN(6) {
			case 0:
				a.DropLink(2)
			case 1:
				must(t, a.SetLink(2, 100))
			}
			talk()
			told := false
			select {
			case <-next:
				told = true
			default:
			}
			was := seen
			all, now, _, ok := a.Changes(seen, buf[:0])
			if seen = now; !ok {
				clear(known)
				var whole []Service
				whole, seen = a.All()
				for _, svc := range whole {
					all = append(all, Change{Service: svc})
				}
			}
			if seen != was && !told {
				t.Fatal("there were changes, and who waits has not been told")
			}
			for _, c := range all {
				if key := fmt.Sprint(c.Name, c.Host, c.Port); c.Gone {
					delete(known, key)
				} else {
					known[key] = c.Service
				}
			}
			want, _ := a.All()
			if got := slices.SortedFunc(maps.Values(known), compareAll); !slices.Equal(got, want) {
				t.Fatalf("%d services known, want %d", len(got), len(want))
			}
		}
		a.consistent(t)
		b.consistent(t)
	})
}

// One change of ten thousand services is one page, and one signature.
func TestOneChange(t *testing.T) {
	a, b := two()
	talk := pair(t, a, b)
	for i := range 10_000 {
		must(t, b.Put(serviceNo(i)))
	}
	talk()
	f := open(b)
	_ = feed(f, [][]byte{digest{last: 1<<64 - 1, all: []have{{2, b.nodes[2].stamp}}}.append(nil)})
	drain(f)
	must(t, b.Put(Service{Name: serviceNo(5000).Name, Port: serviceNo(5000).Port, Weight: 1}))
	size := 0
	msgs := drain(f)
	for _, msg := range msgs {
		size += len(msg)
	}
	if len(msgs) != 2 || size > 12_000 {
		t.Errorf("%d messages, %d bytes, want 2 and at most 12,000", len(msgs), size)
	}
	t.Logf("%d bytes for one change of 10,000 services", size)
}

func TestLookupAllocates(t *testing.T) {
	a, b := two()
	talk := pair(t, a, b)
	for i := range 100 {
		must(t, b.Put(Service{Name: "web", Port: uint32(i)}))
	}
	talk()
	found := 0
	if n := testing.AllocsPerRun(100, func() {
		found += len(a.Services("web"))
		_, known := a.Node(2)
		if !known {
			t.Error("not known")
		}
		a.Services("none")
	}); n != 0 || found == 0 {
		t.Errorf("a lookup allocates %v times, want none", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	x, y := two()
	talk := pair(b, x, y)
	for i := range 10_000 {
		_ = y.Put(serviceNo(i))
	}
	talk()
	b.ReportAllocs()
	for b.Loop() {
		if len(x.Services("service-77")) != 1 {
			b.Fatal("not found")
		}
	}
}

// Ten thousand services announced to a neighbour, and found there; signed.
func BenchmarkAnnounce(b *testing.B) {
	mesh := authority(b)
	config := func(id uint64, name string) Config {
		certs := NewCertificates(credentials(b, mesh, name, nil))
		return Config{ID: id, Life: 1, Name: name, Signer: certs, Verifier: certs}
	}
	one, two := config(1, "one"), config(2, "two")
	const n = 10_000
	for b.Loop() {
		x, y := New(one, epoch), New(two, epoch)
		talk := pair(b, x, y)
		talk()
		for i := range n {
			_ = y.Put(serviceNo(i))
		}
		talk()
		for i := range n {
			if len(x.Services(serviceNo(i).Name)) != 1 {
				b.Fatal("not found")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/service")
}

// The same, each announced and found before the next.
func BenchmarkAnnounceEach(b *testing.B) {
	x, y := two()
	talk := pair(b, x, y)
	for i := 0; b.Loop(); i++ {
		_ = y.Put(serviceNo(i % 10_000))
		y.Remove(serviceNo((i+5000)%10_000).Name, serviceNo((i+5000)%10_000).Port)
		talk()
		x.Services(serviceNo(i % 10_000).Name)
	}
}
