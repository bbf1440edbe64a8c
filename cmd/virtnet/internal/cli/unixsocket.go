package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// maxSocketPath is how long a socket's path may be on every system.
const maxSocketPath = 103

// unixListener removes its file when it is closed, if that is still the one that it has made.
type unixListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// listenUnix listens at a Unix socket that only this user may connect to. A socket that nobody listens at any more
// is replaced; any other file that is there is left alone.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("unix socket %q: the path is %d bytes long, at most %d are allowed: choose another directory", path, len(path), maxSocketPath)
	}
	if strings.HasPrefix(path, "@") {
		path = "./" + path // package net takes it for an abstract name, which is no file, and open to everybody
	}
	l, err := bindUnix(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(ctx, path); err != nil {
			return nil, err
		}
		l, err = bindUnix(path)
	}
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &unixListener{UnixListener: l, path: path, made: made}, nil
}

// bindUnix makes the socket. It is this user's from its first instant.
func bindUnix(path string) (*net.UnixListener, error) {
	defer privateFiles()()
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// removeStale removes a socket that nobody listens at. The error says what is there instead.
func removeStale(ctx context.Context, path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has gone just now
	case err != nil:
		return err
	case found.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("unix socket %q: there is a file of that name that is no socket: choose another name, or remove it", path)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("unix socket %q: %w: another program listens there: choose another name, or end it", path, syscall.EADDRINUSE)
	}
	return removeSame(path, found)
}

// removeSame removes the file if it still is the one that was found.
func removeSame(path string, found fs.FileInfo) error {
	now, err := os.Lstat(path)
	// The number of a file that was removed is soon another's, which is younger.
	if err != nil || !os.SameFile(now, found) || !now.ModTime().Equal(found.ModTime()) {
		return nil
	}
	return os.Remove(path)
}

// Close removes the file, and stops listening. In this order: as long as the socket is there, no other file can be
// mistaken for it.
func (l *unixListener) Close() (err error) {
	l.once.Do(func() { err = removeSame(l.path, l.made) })
	return errors.Join(err, l.UnixListener.Close())
}
