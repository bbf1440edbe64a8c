package registry

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// somewhere makes a directory with the files of a registry, which need not be any, and returns which they are.
func somewhere(t *testing.T) (dir string, f *fileSet) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"registry.db", "registry.db-wal", "registry.db-shm", "9.live"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := statRegistry(registryPath(dir))
	if err == nil {
		f.mark, err = statFile(markPath(dir, 9))
	}
	if err == nil {
		f.dir, err = os.Stat(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, f
}

func setTime(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// Each of the files is missed, whether it is removed or replaced, and however old the directory is.
func TestInPlace(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for _, name := range []string{"registry.db", "registry.db-wal", "registry.db-shm", "9.live", "other", "8.live"} {
		for _, replace := range []bool{false, true} {
			dir, f := somewhere(t)
			setTime(t, dir, long)
			for range 2 {
				if !f.inPlace(dir, 9) {
					t.Fatal("nothing has happened, and files are missed")
				}
			}
			path := filepath.Join(dir, name)
			was := path + ".was" // kept, or its inode could be the new one's
			ours := os.Rename(path, was) == nil
			if replace || !ours {
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.inPlace(dir, 9); got == ours {
				t.Errorf("%s is another's (replaced: %v): in place is %v", name, replace, got)
			}
			if ours && (os.Rename(was, path) != nil || !f.inPlace(dir, 9)) {
				t.Errorf("%s is back, and missed", name)
			}
		}
	}
	dir, f := somewhere(t)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if f.inPlace(dir, 9) {
		t.Error("the directory is not missed")
	}
	os.WriteFile(dir, nil, 0o600)
	if f.inPlace(dir, 9) {
		t.Error("the directory is a file, and not missed")
	}
}

// What the directory's time of change says is believed only if a change now would give it another.
func TestInPlaceCalm(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be replaced")
	}
	now := time.Now()
	for _, test := range []struct {
		name     string
		changed  time.Time
		believed bool
	}{
		{"just now", now.Truncate(time.Second).Add(time.Since(now.Truncate(time.Second))), false},
		{"a while ago", now.Add(-time.Second).Truncate(time.Second).Add(1), true},
		{"two seconds ago, by a coarse clock", now.Add(-2 * time.Second).Truncate(time.Second), false},
		{"some seconds ago, by a coarse clock", now.Add(-5 * time.Second).Truncate(time.Second), true},
		{"in an hour", now.Add(time.Hour), true}, // the clock was put back
	} {
		dir, f := somewhere(t)
		setTime(t, dir, test.changed)
		if !f.inPlace(dir, 9) {
			t.Errorf("%s: files are missed", test.name)
		}
		if got := f.calm.Load() != 0; got != test.believed {
			t.Errorf("%s: believed is %v, want %v", test.name, got, test.believed)
		}
		// A change that leaves no other time is missed if the time is believed, and only then.
		if err := os.Rename(registryPath(dir), filepath.Join(dir, "was")); err != nil {
			t.Fatal(err)
		}
		setTime(t, dir, test.changed)
		if got := f.inPlace(dir, 9); got != test.believed {
			t.Errorf("%s: in place is %v, want %v", test.name, got, test.believed)
		}
	}
}

func TestSameFile(t *testing.T) {
	_, f := somewhere(t)
	_, other := somewhere(t)
	if !sameFile(nil, nil) || sameFile(f.db, nil) || sameFile(nil, f.db) || sameFile(f.db, f.wal) || !sameFile(f.db, f.db) {
		t.Error("files are taken for others")
	}
	if f.sameRegistry(other) || !f.sameRegistry(f) || f.companionOf(other) || !f.companionOf(f) {
		t.Error("registries are taken for others")
	}
	none := &fileSet{db: f.db}
	if none.companionOf(none) || none.companionOf(f) || f.companionOf(none) {
		t.Error("what is not there is taken for a companion")
	}
	if !f.companionOf(&fileSet{shm: f.shm}) || !f.companionOf(&fileSet{wal: f.wal}) {
		t.Error("one companion is not enough")
	}
}

func TestDiscard(t *testing.T) {
	dir, _ := somewhere(t)
	path := registryPath(dir)
	os.WriteFile(path+"-journal", nil, 0o600)
	os.WriteFile(path+"-other", nil, 0o600)
	for range 2 {
		if err := discard(path); err != nil {
			t.Error(err)
		}
	}
	if left := files(t, dir); len(left) != 2 || left[0] != filepath.Join(dir, "9.live") || left[1] != path+"-other" {
		t.Errorf("left are %v", left)
	}
	os.Mkdir(path, 0o700)
	os.WriteFile(filepath.Join(path, "x"), nil, 0o600)
	if err := discard(path); err == nil {
		t.Error("a directory with something in it was removed")
	}
}
