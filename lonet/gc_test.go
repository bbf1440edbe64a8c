package lonet_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
)

// networks returns what is in the directory of networks.
func (p *place) networks() (names []string) {
	p.Helper()
	entries, err := os.ReadDir(filepath.Join(p.cfg.TempDir, "lonet"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestGC(t *testing.T) {
	p := newPlace(t)
	if results, err := p.cfg.GC(p.ctx, lonet.GCOptions{}); len(results) != 0 || err != nil {
		t.Errorf("without networks: %+v, %v", results, err)
	}
	p.host("α")
	dead := p.member("δ")
	addr := p.osladdr("δ")
	dead.kill()
	killed := newChild(t)
	killed.do("join", p.cfg.TempDir, "killed")
	killed.kill()
	for _, network := range []string{"young", "old"} {
		n := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, network))
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chtimes(p.path("old"), hourAgo, hourAgo), os.Chtimes(filepath.Dir(p.path("old")), hourAgo, hourAgo)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(p.path("no registry")), 0o700); err != nil {
		t.Fatal(err)
	}

	for _, dry := range []bool{true, false} {
		results, err := p.cfg.GC(p.ctx, lonet.GCOptions{DryRun: dry})
		if err != nil || len(results) != 5 {
			t.Fatalf("dry run %v: %+v, %v, want 5 results", dry, results, err)
		}
		for i, want := range []struct {
			network string
			removed bool
			kept    string
		}{
			{"killed", true, ""},
			{"no registry", false, "it was used less than 1m0s ago"},
			{"old", true, ""},
			{"t", false, "1 process is on it"},
			{"young", false, "it was used less than 1m0s ago"},
		} {
			r := results[i]
			if r.Network != want.network || r.Dir != filepath.Dir(p.path(want.network)) || r.Removed != want.removed || r.Kept != want.kept || r.Err != nil {
				t.Errorf("dry run %v: got %+v, want %+v", dry, r, want)
			}
		}
		if r := results[3]; len(r.Hosts) != 1 || r.Hosts[0] != (lonet.HostInfo{Name: "δ", Addr: addr, State: lonet.Dead}) || len(r.Marks) != 1 {
			t.Errorf("dry run %v: of the network in use: %+v", dry, r)
		}
		if r := results[0]; len(r.Marks) != 1 {
			t.Errorf("dry run %v: of the killed network: %+v", dry, r)
		}
	}
	if got, want := p.networks(), []string{"no registry", "t", "young"}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if _, err := p.cfg.GCNetwork(p.ctx, "none", lonet.GCOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("GCNetwork of none: %v, want fs.ErrNotExist", err)
	}
	for _, network := range []string{"young", "no registry"} {
		if r, err := p.cfg.GCNetwork(p.ctx, network, lonet.GCOptions{MinAge: -1}); !r.Removed || err != nil {
			t.Errorf("GCNetwork(%q): %+v, %v", network, r, err)
		}
	}
}

// A program that leaves no mark is asked, by a dial of its host's port 0.
func TestGCUnmarked(t *testing.T) {
	p := newPlace(t)
	α := p.host("α")
	addr := p.osladdr("α")
	marks := must[[]string](t)(filepath.Glob(filepath.Join(filepath.Dir(p.path("t")), "*.live")))
	other := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "other"))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	row := func(host, osladdr string) {
		t.Helper()
		p.sql("other", `INSERT INTO hosts (hostname, osladdr) VALUES (?, ?)`, host, osladdr)
	}
	row("α", addr) // where another network is
	silent := p.rawListen(0)
	row("β", silent.Addr().String())
	r, err := p.cfg.GCNetwork(p.ctx, "other", lonet.GCOptions{MinAge: -1})
	if err != nil || r.Removed || len(r.Hosts) != 1 || r.Hosts[0].Name != "α" || !strings.Contains(r.Kept, `host "β"`) {
		t.Errorf("got %+v, %v, want α removed and β kept", r, err)
	}
	silent.Close()
	if r, err := p.cfg.GCNetwork(p.ctx, "other", lonet.GCOptions{MinAge: -1}); err != nil || !r.Removed {
		t.Errorf("when nobody is there: %+v, %v", r, err)
	}

	// One that is there is kept although its mark is not.
	if len(marks) != 1 || os.Remove(marks[0]) != nil {
		t.Skip("left out: the mark cannot be removed")
	}
	for range 3 {
		r, err := p.cfg.GCNetwork(p.ctx, "t", lonet.GCOptions{MinAge: -1})
		if err != nil || r.Removed || len(r.Hosts) != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	if err := α.Close(); err != nil {
		t.Error(err)
	}
}

// A network with a random name goes with the last who is on it, if that is who has made it.
func TestRandomNetworkGoes(t *testing.T) {
	p := newPlace(t)
	for range 3 {
		n := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, ""))
		if _, err := n.NewHost(p.ctx, "α"); err != nil {
			t.Error(err)
		}
		name := strings.TrimPrefix(n.Network(), "lonet")
		if got := p.networks(); !slices.Equal(got, []string{name}) {
			t.Errorf("networks %q, want %q", got, name)
		}
		quickly(t, "leaving", func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		if left := p.networks(); len(left) != 0 {
			t.Errorf("left are %q", left)
		}
	}

	n := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, ""))
	name := strings.TrimPrefix(n.Network(), "lonet")
	other := newChild(t)
	other.do("join", p.cfg.TempDir, name)
	other.do("host", "β")
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	again := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, name))
	if _, err := again.NewHost(p.ctx, "β"); !errors.Is(err, virtnet.ErrHostDup) {
		t.Errorf("the network is another: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	other.do("leave")
	if got := p.networks(); !slices.Equal(got, []string{name}) {
		t.Errorf("networks %q, want %q", got, name)
	}
}
