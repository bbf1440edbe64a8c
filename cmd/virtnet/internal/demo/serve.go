package demo

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// serve serves t.Dir over HTTP at port 80 of host until ctx is done. It calls up once it listens.
func serve(ctx context.Context, host *virtnet.Host, t *task, up func()) error {
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	l, err := host.Listen(ctx, ":80")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &fileHandler{root: root, hold: t.Hold}, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	up()
	return server.Serve(xnet.BindCtxL(l, ctx))
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
