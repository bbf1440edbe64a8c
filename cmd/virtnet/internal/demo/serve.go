package demo

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serve serves t.Dir over HTTP on l until ctx is done. It calls up when it is about to.
func serve(ctx context.Context, l net.Listener, t *task, up func()) error {
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	server := &http.Server{Handler: &fileHandler{root: root, hold: t.Hold}, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	up()
	return server.Serve(l)
}

// fileHandler serves the regular files of a directory, each under its own name.
type fileHandler struct {
	root *os.Root
	hold string // file that stops in the middle, and never goes on
}

func (h *fileHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	f, err := h.root.Open(filepath.FromSlash(name))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "serve", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if name == h.hold {
		w = &holdWriter{ResponseWriter: w, ctx: r.Context(), left: info.Size() / 2}
	}
	http.ServeContent(w, r, name, info.ModTime(), f)
}

// holdWriter passes on so many bytes and then waits for the end of the request, so that whoever receives
// them is in the middle of a file for certain, and not by good timing.
type holdWriter struct {
	http.ResponseWriter
	ctx  context.Context
	left int64
}

func (w *holdWriter) Write(b []byte) (int, error) {
	if int64(len(b)) < w.left {
		n, err := w.ResponseWriter.Write(b)
		w.left -= int64(n)
		return n, err
	}
	n, err := w.ResponseWriter.Write(b[:w.left])
	w.left = 0
	if err != nil {
		return n, err
	}
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	<-w.ctx.Done()
	return n, w.ctx.Err()
}
