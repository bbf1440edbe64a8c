//go:build unix

package registry

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode() &^ os.ModeDir; got != want {
		t.Errorf("%s: mode %v, want %v", path, got, want)
	}
}

func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o177} {
		tmp := t.TempDir()
		old := syscall.Umask(umask)
		m := join(t, Config{TempDir: tmp}, "n")
		fresh := join(t, Config{TempDir: tmp}, "")
		syscall.Umask(old)
		wantMode(t, filepath.Join(tmp, "lonet"), 0o777|os.ModeSticky)
		wantMode(t, m.dir, 0o700)
		wantMode(t, fresh.dir, 0o700)
	}
}

// An own directory of networks that another program made too narrow is put right; so is a network too wide.
func TestModesMended(t *testing.T) {
	tmp := t.TempDir()
	os.Mkdir(filepath.Join(tmp, "lonet"), 0o755)
	os.Mkdir(filepath.Join(tmp, "lonet", "n"), 0o755)
	m := join(t, Config{TempDir: tmp}, "n")
	wantMode(t, filepath.Join(tmp, "lonet"), 0o777|os.ModeSticky)
	wantMode(t, m.dir, 0o700)
}

// What takes the directory's place between the look at it and the change of its mode stays as it is.
func TestModeSwapped(t *testing.T) {
	tmp := t.TempDir()
	target, link := filepath.Join(tmp, "target"), filepath.Join(tmp, "link")
	os.Mkdir(target, 0o755)
	os.Symlink(target, link)
	fi, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := setMode(link, fi, modeNetwork); err == nil {
		t.Error("a link was followed")
	}
	wantMode(t, target, 0o755)
	if err := setMode(target, fi, modeNetwork); err != nil {
		t.Error(err)
	}
	wantMode(t, target, 0o700)

	if os.Chown(target, 65534, 65534) != nil {
		missing(t, "root, to make another user's directory")
	}
	if err := setMode(target, fi, modeBase); err == nil || !strings.HasSuffix(err.Error(), "target has become another user's") {
		t.Errorf("another user's directory: %v", err)
	}
	wantMode(t, target, 0o700)
}

func TestOthersNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		missing(t, "root, to make another user's directory")
	}
	c := Config{TempDir: t.TempDir()}
	dir := filepath.Join(c.Dir(), "n")
	os.MkdirAll(dir, 0o777)
	os.Chown(dir, 65534, 65534)
	_, err := c.Open(t.Context(), "n", "127.0.0.1:1")
	if want := "n belongs to another user: choose another name for the network"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("open: got error %v, want %q at its end", err, want)
	}
	// The directory of all networks may be another's.
	os.Chmod(c.Dir(), 0o775)
	os.Chown(c.Dir(), 65534, 65534)
	join(t, c, "m")
	wantMode(t, c.Dir(), 0o775)

	networks, err := c.List(t.Context())
	if err != nil || len(networks) != 2 || networks[0].Err != nil || networks[1].Err == nil {
		t.Errorf("list: %+v, %v; want m to be readable and n not", networks, err)
	}
}
