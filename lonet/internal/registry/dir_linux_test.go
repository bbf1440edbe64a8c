package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestOthersDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		missing(t, "root, to make another user's directory")
	}
	c := Config{TempDir: t.TempDir()}
	os.Chmod(filepath.Dir(c.TempDir), 0o755) // others may pass
	os.Mkdir(c.Dir(), 0o755)
	os.Chown(c.Dir(), 1, 1)

	// Just this thread's file access is another user's, and the thread ends with the goroutine.
	errc := make(chan error)
	go func() {
		runtime.LockOSThread()
		syscall.Setfsuid(65534)
		_, err := c.Open(t.Context(), "n", "127.0.0.1:1")
		errc <- err
	}()
	err := <-errc
	if want := "have its owner run chmod 1777 on it, or use another temporary directory"; !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got error %v, want fs.ErrPermission with %q at its end", err, want)
	}
}
