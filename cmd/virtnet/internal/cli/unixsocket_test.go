//go:build unix

package cli

import (
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stale leaves a socket that nobody listens at.
func stale(t *testing.T, path string) {
	t.Helper()
	l := must[*net.UnixListener](t)(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}))
	l.SetUnlinkOnClose(false)
	l.Close()
}

// An ordinary server and an ordinary client at Unix sockets, half close included.
func TestRelayUnix(t *testing.T) {
	tmp := tempDir(t)
	dir := t.TempDir()
	path, server := filepath.Join(dir, "forward"), filepath.Join(dir, "server")
	l := must[net.Listener](t)(net.Listen("unix", server))
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b, _ := io.ReadAll(c)
				c.Write(b)
				c.Close()
			}()
		}
	}()
	stale(t, path)
	expose := launch(t, "lo", "expose", "tea", "www:80", "unix:"+server)
	if e := expose.until(eventReady); e.Target != "unix:"+server {
		t.Errorf("ready: %+v", e)
	}
	forward := launch(t, "lo", "forward", "tea", "β", "unix:"+path, "www:80")
	if e := forward.until(eventReady); e.Listen != "unix:"+path {
		t.Errorf("ready: %+v", e)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	c := must[net.Conn](t)(net.Dial("unix", path)).(*net.UnixConn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	data := random(8, 1<<20)
	go func() {
		c.Write(data)
		c.CloseWrite()
	}()
	if got := readAll(t, c); string(got) != string(data) {
		t.Errorf("%d bytes came back", len(got))
	}
	if e := forward.until(eventEnd); e.From != "unix" || e.At != "unix:"+path || e.Error != "" || *e.Sent != int64(len(data)) {
		t.Errorf("forward tells of %+v", e)
	}
	if e := expose.until(eventEnd); e.To != "unix:"+server || e.Error != "" || *e.Received != int64(len(data)) {
		t.Errorf("expose tells of %+v", e)
	}

	second := launch(t, "lo", "forward", "tea", "γ", "unix:"+path, "www:80")
	second.exits(exitFailed, "another program listens there: choose another name, or end it")
	forward.stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	expose.stop()
	noHosts(t, tmp)
}

// What is no socket of ours is never removed.
func TestListenUnixLeavesFiles(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(path string)
		want string // of the error
	}{
		{"file", func(path string) { os.WriteFile(path, []byte("precious"), 0o600) }, "no socket: choose another name, or remove it"},
		{"directory", func(path string) { os.Mkdir(path, 0o700) }, "no socket"},
		{"link to a socket", func(path string) { stale(t, path+".other"); os.Symlink(path+".other", path) }, "no socket"},
	} {
		path := filepath.Join(t.TempDir(), "s")
		test.make(path)
		before := must[fs.FileInfo](t)(os.Lstat(path))
		if _, err := listenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: it was touched: %v", test.name, err)
		}
	}

	path := filepath.Join(t.TempDir(), "s")
	l := must[net.Listener](t)(listenUnix(t.Context(), path))
	os.Remove(path)
	os.WriteFile(path, []byte("precious"), 0o600)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" || err != nil {
		t.Errorf("a file that has taken the socket's place: %q, %v", b, err)
	}
	if err := l.Close(); err == nil {
		t.Error("a second Close succeeds")
	}
}

// A socket that has just taken a stale one's place is left alone, though it may have its inode.
func TestRemoveSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	found := must[fs.FileInfo](t)(os.Lstat(path))
	now := found
	for now.ModTime().Equal(found.ModTime()) { // times of files are coarse
		os.Remove(path)
		stale(t, path)
		now = must[fs.FileInfo](t)(os.Lstat(path))
	}
	for _, test := range []struct {
		name  string
		found fs.FileInfo
		gone  bool
	}{
		{"the one before it", found, false},
		{"itself", now, true},
	} {
		err := removeSame(path, test.found)
		if _, lerr := os.Lstat(path); err != nil || os.IsNotExist(lerr) != test.gone {
			t.Errorf("%s: %v, then the socket: %v", test.name, err, lerr)
		}
	}
}

// A name that is one of an abstract socket to package net is a file like any other.
func TestListenUnixAt(t *testing.T) {
	t.Chdir(t.TempDir())
	l := must[net.Listener](t)(listenUnix(t.Context(), "@s"))
	if info, err := os.Lstat("@s"); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	os.WriteFile("@s", []byte("precious"), 0o600)
	if _, err := listenUnix(t.Context(), "@s"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where there is a file: %v", err)
	}
	if b, err := os.ReadFile("@s"); string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
}

func TestListenUnixErrors(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("long", 30))
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "s"): "no such file or directory",
		long:                            "at most 103 are allowed: choose another directory",
	} {
		if _, err := listenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if err := removeStale(t.Context(), filepath.Join(dir, "gone")); err != nil {
		t.Errorf("one that has gone meanwhile: %v", err)
	}
}
