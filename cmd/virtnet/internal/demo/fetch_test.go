package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// exchange is a server and a client on hosts of one process: what the processes do needs no processes.
type exchange struct {
	t       *testing.T
	network *pipenet.Network
	dir     string
	files   []file
	events  *json.Decoder // what the client tells
}

// newExchange makes a directory of two files, and a client that fetches them from α.
func newExchange(t *testing.T, names ...string) *exchange {
	x := &exchange{t: t, network: pipenet.New("t"), dir: t.TempDir()}
	t.Cleanup(func() { pipenet.AsVirtNet(x.network).Close() })
	for _, name := range []string{"a b", "index.html"} {
		content := bytes.Repeat([]byte(name), 50_000)
		if err := os.WriteFile(filepath.Join(x.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if x.files, err = readFiles(t.Context(), x.dir, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	x.events = json.NewDecoder(r)
	x.start(func(ctx context.Context) error {
		err := fetch(ctx, xhttp.Transport(x.network.Host("β")), &task{From: "α", Files: names}, newTeller("β", w))
		w.CloseWithError(err)
		return err
	})
	t.Cleanup(func() { r.Close() })
	return x
}

// start runs f until the test ends or stop is called.
func (x *exchange) start(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	stop = func() { cancel(); <-ended }
	x.t.Cleanup(stop)
	return stop
}

// serve serves the directory at α and returns once it listens.
func (x *exchange) serve(hold string) (host *virtnet.Host) {
	host = x.network.Host("α")
	up := make(chan struct{})
	x.start(func(ctx context.Context) error {
		l, err := host.Listen(ctx, ":80")
		if err != nil {
			return err
		}
		return serve(ctx, xnet.BindCtxL(l, ctx), &task{Dir: x.dir, Hold: hold}, func() { close(up) })
	})
	<-up
	return host
}

// next returns the client's next event of one of the kinds.
func (x *exchange) next(kinds ...kind) event {
	x.t.Helper()
	for {
		var e event
		if err := x.events.Decode(&e); err != nil {
			x.t.Fatalf("the client has ended: %v", err)
		}
		if slices.Contains(kinds, e.Kind) {
			return e
		}
	}
}

func TestExchange(t *testing.T) {
	x := newExchange(t, "a b", "index.html")
	if e := x.next(dialFailed); e.Host != "β" || e.Error == "" {
		t.Errorf("before there is a server: %+v", e)
	}

	host := x.serve("index.html")
	a, index := x.files[0], x.files[1]
	want := event{Kind: fetched, Host: "β", File: a.name, Offset: a.size, Got: a.size, SHA256: a.sha256}
	if e := x.next(fetched); e != want {
		t.Errorf("first file: %+v\nwant %+v", e, want)
	}
	for e := x.next(advance); e.File != index.name || e.Offset != index.size/2; e = x.next(advance) {
	}

	host.Close()
	if e := x.next(cut); e.File != index.name || e.Offset != index.size/2 || e.Error == "" {
		t.Errorf("when the server's host has gone down: %+v", e)
	}
	x.next(dialFailed)

	x.serve("")
	want = event{Kind: fetched, Host: "β", File: index.name, Offset: index.size, Got: a.size + index.size,
		Resumed: index.size / 2, SHA256: index.sha256}
	if e := x.next(fetched); e != want {
		t.Errorf("second file: %+v\nwant %+v", e, want)
	}
	x.next(done)
}

func TestFetchRefused(t *testing.T) {
	x := newExchange(t, "a b")
	x.network.Host("α") // which does not listen
	e := x.next(dialFailed)
	for strings.Contains(e.Error, virtnet.ErrNoHost.Error()) { // it has dialled before α was there
		e = x.next(dialFailed)
	}
	if !e.Refused || !strings.Contains(e.Error, virtnet.ErrConnRefused.Error()) {
		t.Errorf("no listener: %+v", e)
	}
}

func TestFetchOfNoFile(t *testing.T) {
	for _, name := range []string{"none", "", "../x"} {
		x := newExchange(t, name)
		x.serve("")
		var answer *answerError
		for {
			var e event
			err := x.events.Decode(&e)
			if err == nil {
				continue
			}
			if !errors.As(err, &answer) || !strings.Contains(err.Error(), "404 Not Found") {
				t.Errorf("%q: %v", name, err)
			}
			break
		}
	}
}
