package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"
)

func TestAdvise(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	plain := errors.New("plain")
	denied := &fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}
	for _, test := range []struct {
		name string
		dir  string
		err  error
		want string // after err's text
		is   error
	}{
		{"nothing of ours", dir, plain, "", plain},
		{"nothing at all", dir, nil, "", nil},
		{"no space", dir, sqlite.ResultFull.ToError(), ": no space left on device: make room, or use another temporary directory", syscall.ENOSPC},
		{"no space for a mark", dir, &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}, ": make room, or use another temporary directory", syscall.ENOSPC},
		{"it opens now", dir, sqlite.ResultCantOpen.ToError(), "", nil},
		{"it does not open", gone, sqlite.ResultCantOpen.ToError(), ": no such file or directory", fs.ErrNotExist},
		{"it is not read", gone, sqlite.ResultIOErrSHMSize.ToError(), ": no such file or directory", fs.ErrNotExist},
		{"it is not writable", dir, sqlite.ResultReadOnly.ToError(), ": make the network's files writable", nil},
		{"read-only", dir, fmt.Errorf("mkdir: %w", syscall.EROFS), ": use another temporary directory", syscall.EROFS},
		{"descriptors", dir, fmt.Errorf("open: %w", syscall.EMFILE), ": close some, or raise this process's limit", syscall.EMFILE},
		{"not allowed", dir, denied, ": use another temporary directory", fs.ErrPermission},
		{"not allowed, explained already", dir, fmt.Errorf("%w: do this", denied), "", fs.ErrPermission},
	} {
		err := advise(test.dir, test.err)
		if test.err == nil {
			if err != nil {
				t.Errorf("%s: error %v", test.name, err)
			}
			continue
		}
		if got := strings.TrimPrefix(err.Error(), test.err.Error()); got != test.want && os.PathSeparator == '/' {
			t.Errorf("%s:\n got %s\nwant it to end with %q", test.name, err, test.want)
		}
		if !errors.Is(err, test.err) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v is not %v, or not %v", test.name, err, test.err, test.is)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
