package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asNobody runs f on a thread whose file access is another user's, and which ends with f.
func asNobody(f func() error) <-chan error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		syscall.Setfsuid(65534)
		errc <- f()
	}()
	return errc
}

func TestOthersDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		missing(t, "root, to make another user's directory")
	}
	c := Config{TempDir: t.TempDir()}
	os.Chmod(filepath.Dir(c.TempDir), 0o755) // others may pass
	os.Mkdir(c.Dir(), 0o755)
	os.Chown(c.Dir(), 1, 1)

	err := <-asNobody(func() error {
		_, err := c.Open(t.Context(), "n", "127.0.0.1:1")
		return err
	})
	if want := "have its owner run chmod 1777 on it, or use another temporary directory"; !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got error %v, want fs.ErrPermission with %q at its end", err, want)
	}
}

// The first user has made the directory of networks, and not given it its mode yet, when a second one comes.
func TestDirectoryAboutToBeOpen(t *testing.T) {
	if os.Geteuid() != 0 {
		missing(t, "root, to be two users")
	}
	base := filepath.Join(t.TempDir(), "lonet")
	os.Chmod(filepath.Dir(filepath.Dir(base)), 0o755) // others may pass
	os.Chmod(filepath.Dir(base), 0o755)
	for _, mode := range []os.FileMode{0o755, 0o700} {
		os.Mkdir(base, mode)
		began := make(chan struct{})
		errc := asNobody(func() error {
			close(began)
			return makeIn(t.Context(), base, filepath.Join(base, "n"))
		})
		<-began
		opened := time.AfterFunc(modeWait/20, func() { os.Chmod(base, modeBase) })
		if err := <-errc; err != nil {
			t.Errorf("mode %v: %v", mode, err)
		}
		opened.Stop()
		os.RemoveAll(base)
	}

	// A context is obeyed.
	os.Mkdir(base, 0o755)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := <-asNobody(func() error { return makeIn(ctx, base, filepath.Join(base, "n")) }); err != context.Canceled {
		t.Errorf("got %v, want the context's error", err)
	}
}
