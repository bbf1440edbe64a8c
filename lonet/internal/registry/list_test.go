package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestListNothing(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	if networks, err := c.List(t.Context()); len(networks) != 0 || err != nil {
		t.Errorf("list: %v, %v", networks, err)
	}
	if _, err := c.ListNetwork(t.Context(), "n"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("network: %v", err)
	}
	if _, err := os.Stat(c.Dir()); err == nil {
		t.Error("listing has made the directory")
	}
}

func TestList(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	a, b := join(t, c, "n"), join(t, c, "n")
	join(t, c, "idle")
	if err := errors.Join(a.announce(t.Context(), "α"), b.announce(t.Context(), "β")); err != nil {
		t.Fatal(err)
	}
	mustExec(t, bareDB(t, a.path),
		"INSERT INTO hosts VALUES ('γ', '127.0.0.1:1'), ('δ', NULL), (NULL, NULL), ('ε', 'elsewhere'), ('ζ', '127.0.0.1:2')")
	os.WriteFile(markPath(a.dir, 2), nil, 0o600)
	oldNetwork(t, c, "zz", "UPDATE meta SET value = 'lonet.2' WHERE name = 'schemaver'")
	os.Mkdir(filepath.Join(c.Dir(), "nothing"), 0o700)
	os.WriteFile(filepath.Join(c.Dir(), "file"), nil, 0o600)
	before := files(t, c.Dir())

	networks, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(networks) != 3 || networks[0].Name != "idle" || networks[1].Name != "n" || networks[2].Name != "zz" {
		t.Fatalf("list: %+v", networks)
	}
	if n := networks[0]; n.Processes != 1 || len(n.Hosts) != 0 || n.Err != nil {
		t.Errorf("idle: %+v", n)
	}
	n := networks[1]
	want := []Host{
		{"", "", Unmarked}, {"α", a.osladdr, Running}, {"β", b.osladdr, Running}, {"γ", "127.0.0.1:1", Unmarked},
		{"δ", "", Unmarked}, {"ε", "elsewhere", Unmarked}, {"ζ", "127.0.0.1:2", Gone},
	}
	if n.Processes != 2 || n.Err != nil || !slices.Equal(n.Hosts, want) {
		t.Errorf("n: got %+v, want hosts %v", n, want)
	}
	if err := networks[2].Err; err == nil {
		t.Error("no error for a network of another version")
	}
	if after := files(t, c.Dir()); !slices.Equal(after, before) {
		t.Errorf("files before %v, after %v", before, after)
	}
	// Nobody was disturbed.
	if err := errors.Join(a.announce(t.Context(), "more"), b.withdraw(t.Context(), "β")); err != nil {
		t.Error(err)
	}
}

// Nobody is on the network: what listing opens is closed without a trace.
func TestListLeft(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	join(t, c, "n").Close()
	before := files(t, c.Dir())
	n, err := c.ListNetwork(t.Context(), "n")
	if err != nil || n.Processes != 0 || len(n.Hosts) != 0 {
		t.Errorf("got %+v, %v", n, err)
	}
	if after := files(t, c.Dir()); !slices.Equal(after, before) || len(before) != 2 {
		t.Errorf("files before %v, after %v", before, after)
	}
}

func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
