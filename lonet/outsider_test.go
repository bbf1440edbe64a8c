//go:build unix

package lonet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/xnet"
)

// An outsider is a process on the network that is not ours: testdata/interop/client.py, which was written from
// docs/lonet.md alone, and says what it is told to do.
type outsider struct {
	*child
	osladdr string
	last    int
	early   map[int]answer // read, and not yet waited for
}

// args are the arguments of a command. They must not have "id" and "cmd".
type args map[string]any

type answer struct {
	ID      int
	Error   string
	Osladdr string
	Conn    int
	Local   string
	Remote  string
	Size    int
	SHA256  string
	Data    string // at most the first 99 bytes
}

// newOutsider starts an outsider, which is on no network yet.
func (p *place) newOutsider() *outsider {
	p.Helper()
	python := needs.Program(p, "python3")
	needs.Program(p, "sqlite3")
	c := startChild(p, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = python, []string{python, filepath.Join("testdata", "interop", "client.py")}
		cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "TMPDIR="+p.cfg.TempDir)
	})
	return &outsider{child: c, early: make(map[int]answer)}
}

// outsider starts an outsider that is on network "t", with a mark of life or without.
func (p *place) outsider(mark bool) *outsider {
	p.Helper()
	o := p.newOutsider()
	o.join("t", mark)
	if _, err := os.Stat(p.mark(o.osladdr)); err == nil != mark {
		p.Fatalf("the outsider's mark of life: %v", err)
	}
	return o
}

// mark returns the path of the mark of life of who accepts at osladdr.
func (p *place) mark(osladdr string) string {
	_, port, _ := net.SplitHostPort(osladdr)
	return filepath.Join(filepath.Dir(p.path("t")), port+".live")
}

func (o *outsider) join(network string, mark bool) {
	o.Helper()
	o.osladdr = o.do("join", args{"network": network, "mark": mark}).Osladdr
}

// start gives the outsider a command, and returns its number.
func (o *outsider) start(cmd string, a args) int {
	o.Helper()
	o.last++
	line := args{"id": o.last, "cmd": cmd}
	maps.Copy(line, a)
	fmt.Fprintf(o.in, "%s\n", must[[]byte](o)(json.Marshal(line)))
	return o.last
}

// wait returns the answer to a command. The error is the one that the answer has.
func (o *outsider) wait(id int) (answer, error) {
	o.Helper()
	for {
		if a, ok := o.early[id]; ok {
			delete(o.early, id)
			if a.Error != "" {
				return a, errors.New(a.Error)
			}
			return a, nil
		}
		line, err := o.out.ReadBytes('\n')
		if err != nil {
			o.Fatalf("outsider: %v", err)
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			o.Fatalf("outsider: %q: %v", line, err)
		}
		o.early[a.ID] = a
	}
}

// do has the outsider do what must succeed.
func (o *outsider) do(cmd string, a args) answer {
	o.Helper()
	return o.done(o.start(cmd, a))
}

// done waits for what must succeed.
func (o *outsider) done(id int) answer {
	o.Helper()
	got, err := o.wait(id)
	if err != nil {
		o.Fatalf("outsider: command %d: %v", id, err)
	}
	return got
}

// wantError has the outsider do what must end with an error.
func (o *outsider) wantError(want, cmd string, a args) {
	o.Helper()
	if got, err := o.wait(o.start(cmd, a)); err == nil || err.Error() != want {
		o.Errorf("outsider: %s %v: %+v, error %v, want %s", cmd, a, got, err, want)
	}
}

func (o *outsider) announce(name string) {
	o.Helper()
	o.do("announce", args{"host": name})
}

// A pair is a connection between us and an outsider.
type pair struct {
	ours   *virtnet.Conn
	theirs answer
}

// dialled has an outsider dial l with payload right behind its request.
func (p *place) dialled(o *outsider, src string, l xnet.Listener, payload string) pair {
	p.Helper()
	id := o.start("dial", args{"src": src, "dst": l.Addr().String(), "payload": payload})
	c := p.accept(l)
	c.SetDeadline(time.Now().Add(patience))
	return pair{c.(*virtnet.Conn), o.done(id)}
}

// dialling dials a listener of an outsider, who accepts with payload right behind its reply.
func (p *place) dialling(h *virtnet.Host, o *outsider, host string, port int, payload string) pair {
	p.Helper()
	id := o.start("accept", args{"host": host, "port": port, "payload": payload})
	c := p.dial(h, fmt.Sprintf("%s:%d", host, port))
	c.SetDeadline(time.Now().Add(patience))
	return pair{c.(*virtnet.Conn), o.done(id)}
}

// close closes both ends.
func (p *place) close(o *outsider, c pair) {
	p.Helper()
	c.ours.Close()
	o.do("close", args{"conn": c.theirs.Conn})
}

// wantPorts checks the addresses of both ends.
func (p *place) wantPorts(c pair, ours, theirs string) {
	p.Helper()
	got := [4]string{c.ours.LocalAddr().String(), c.ours.RemoteAddr().String(), c.theirs.Local, c.theirs.Remote}
	if want := [4]string{ours, theirs, theirs, ours}; got != want {
		p.Errorf("our local and remote address, theirs\n got %q\nwant %q", got, want)
	}
}

// wantText checks that text comes from the other end, as the next there is.
func wantText(t testing.TB, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Errorf("read %q, %v, want %q", got, err, text)
	}
}
