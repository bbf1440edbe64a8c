//go:build unix

package lonet_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/virtnet/virtnet/lonet"
)

// Networks of other users stay, even root's gc leaves them alone.
func TestGCOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be several users")
	}
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	c := p.asUser(12345)
	c.do("tryjoin", p.cfg.TempDir, "theirs")
	c.do("join", p.cfg.TempDir, "killed")
	c.kill()
	if err := os.Symlink(filepath.Dir(p.path("killed")), filepath.Dir(p.path("link"))); err != nil {
		t.Fatal(err)
	}
	results, err := p.cfg.GC(p.ctx, lonet.GCOptions{MinAge: -1, Force: true})
	if err != nil || len(results) != 2 {
		t.Fatalf("got %+v, %v", results, err)
	}
	for i, network := range []string{"killed", "theirs"} {
		if r := results[i]; r.Network != network || r.Removed || r.Kept != "it belongs to another user" || r.Err != nil || len(r.Marks) != 0 {
			t.Errorf("got %+v", r)
		}
	}
	if _, err := p.cfg.GCNetwork(p.ctx, "theirs", lonet.GCOptions{MinAge: -1}); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("GCNetwork: %v", err)
	}
	if got, want := p.networks(), []string{"killed", "link", "theirs"}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

// A directory that cannot be read is an error of its own, and no reason not to look at the others.
func TestGCErrors(t *testing.T) {
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	killed := newChild(t)
	killed.do("join", p.cfg.TempDir, "killed")
	killed.kill()
	broken := p.path("broken")
	if err := errors.Join(os.MkdirAll(filepath.Dir(broken), 0o700), os.WriteFile(broken, []byte(strings.Repeat("no database ", 100)), 0o600)); err != nil {
		t.Fatal(err)
	}
	results, err := p.cfg.GC(p.ctx, lonet.GCOptions{MinAge: -1})
	if err != nil || len(results) != 2 || results[0].Removed || !strings.Contains(results[0].Kept, "its registry cannot be read") || !results[1].Removed {
		t.Errorf("got %+v, %v", results, err)
	}
	if results, err = p.cfg.GC(p.ctx, lonet.GCOptions{MinAge: -1, Force: true}); err != nil || len(results) != 1 || !results[0].Removed {
		t.Errorf("by force: %+v, %v", results, err)
	}
}

// A stopped process is alive.
func TestGCStopped(t *testing.T) {
	p := newPlace(t)
	α := p.member("α")
	α.signal(syscall.SIGSTOP)
	if r, err := p.cfg.GCNetwork(p.ctx, "t", lonet.GCOptions{MinAge: -1, Force: true}); err != nil || r.Removed || len(r.Hosts) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	α.signal(syscall.SIGCONT)
	α.do("host", "β")
	α.do("leave")
	if r, err := p.cfg.GCNetwork(p.ctx, "t", lonet.GCOptions{MinAge: -1}); err != nil || !r.Removed {
		t.Errorf("when it has left: %+v, %v", r, err)
	}
}
