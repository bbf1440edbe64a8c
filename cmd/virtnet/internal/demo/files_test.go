package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMakeAndReadFiles(t *testing.T) {
	dir := t.TempDir()
	if err := makeFiles(dir); err != nil {
		t.Fatal(err)
	}
	var last int64
	files, err := readFiles(t.Context(), dir, func(n int64) { last = n })
	if err != nil {
		t.Fatal(err)
	}
	if all := total(files); len(files) != 24 || all < 30<<20 || all > 90<<20 || last != all {
		t.Errorf("%d files of %s in all, last progress %d", len(files), size(all), last)
	}
	f := files[0]
	if n, sum, err := digest(filepath.Join(dir, filepath.FromSlash(f.name)), func(int) error { return nil }); n != f.size || sum != f.sha256 || err != nil {
		t.Errorf("digest(%q) = %d, %s, %v, want %d, %s", f.name, n, sum, err, f.size, f.sha256)
	}

	again := t.TempDir()
	if err := makeFiles(again); err != nil {
		t.Fatal(err)
	}
	other, err := readFiles(t.Context(), again, func(int64) {})
	if err != nil || len(other) != len(files) || other[0] != files[0] || other[23] != files[23] {
		t.Errorf("made again, the files are others (%v)", err)
	}
}

func TestReadFilesOfUser(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b/c d": "xyz", "a": "", "index.html": "i"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Logf("without a symbolic link: %v", err)
	}
	files, err := readFiles(t.Context(), dir, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	if got, want := strings.Join(names, ","), "a,b/c d,index.html"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := readFiles(ctx, dir, func(int64) {}); err != stop {
		t.Errorf("with a cancelled context: %v, want its cause", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	if _, err := readFiles(ctx, dir, func(int64) { cancel(stop) }); err != stop {
		t.Errorf("cancelled while it reads: %v, want the cause", err)
	}
	if _, err := readFiles(t.Context(), filepath.Join(dir, "none"), func(int64) {}); !os.IsNotExist(err) {
		t.Errorf("of no directory: %v", err)
	}
}

func TestMiddle(t *testing.T) {
	for _, test := range []struct {
		sizes []int64
		want  int // index, or -1
	}{
		{nil, -1},
		{[]int64{0, 1, 0}, -1},
		{[]int64{2}, 0},
		{[]int64{10, 10, 10}, 1},
		{[]int64{100, 1, 1}, 0},
		{[]int64{1, 1, 100}, 2},
		{[]int64{50, 1, 50, 1}, 2},
		{[]int64{5, 1, 1, 1}, 0},
	} {
		var files []file
		for i, n := range test.sizes {
			files = append(files, file{name: string(rune('a' + i)), size: n})
		}
		got, ok := middle(files)
		if ok != (test.want >= 0) || ok && got != files[test.want] {
			t.Errorf("middle of sizes %v: %v, %v; want number %d", test.sizes, got, ok, test.want)
		}
	}
}
