//go:build unix

package lonet_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
)

// Files of a network are lost, or spoilt, while processes are on it. On Windows nobody can do that to open files.

// overwrite has another process write over a part of a file. This one must not, for SQLite would lose its locks.
func (p *place) overwrite(path string, offset, length int) {
	p.Helper()
	newChild(p).do("overwrite", path, offset, length)
}

func init() {
	extra["overwrite"] = func(args []string) (string, error) { // PATH OFFSET LENGTH
		var offset, length int
		if _, err := fmt.Sscan(args[1]+" "+args[2], &offset, &length); err != nil {
			return "", err
		}
		f, err := os.OpenFile(args[0], os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		_, err = f.WriteAt(make([]byte, length), int64(offset))
		return "", errors.Join(err, f.Close())
	}
}

// Whatever happens to the files: connections go on, hosts can be made, and all find all again, also those whose processes
// have nothing to do but to wait for dials.
func TestRecover(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(p *place, dir string)
	}{
		{"all removed", func(p *place, dir string) {
			if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
				p.Fatal(err)
			}
		}},
		{"registry removed", func(p *place, _ string) {
			if err := os.Remove(p.path("t")); err != nil {
				p.Fatal(err)
			}
		}},
		{"moved away", func(p *place, dir string) {
			if err := os.Rename(dir, dir+".old"); err != nil {
				p.Fatal(err)
			}
		}},
		{"overwritten", func(p *place, _ string) { p.overwrite(p.path("t"), 0, 8192) }},
		{"cut off", func(p *place, _ string) {
			if err := os.Truncate(p.path("t"), 0); err != nil {
				p.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			α := p.member("α") // it only waits for dials
			α.do("listen", "α", "α:1")
			α.do("echo", "α:1")
			β := p.member("β")
			β.do("listen", "β", "β:1")
			β.do("echo", "β:1")
			here := p.host("γ")
			conn := p.dial(here, "α:1")
			β.do("dial", "β", "α:1")
			p.sql("t", "PRAGMA wal_checkpoint(TRUNCATE)")

			dir := filepath.Dir(p.path("t"))
			test.lose(p, dir)
			wantEcho(t, conn)
			β.do("ping")
			p.dial(here, "α:1").Close()

			// A network of processes that all have lost it is found again by each that comes.
			β.do("host", "δ")
			newcomer := p.host("ε")
			eventually(t, "all are registered again", func() bool {
				list, err := p.cfg.ListNetwork(p.ctx, "t")
				return err == nil && len(list.Hosts) == 5
			})
			for _, addr := range []string{"α:1", "β:1"} {
				p.dial(newcomer, addr).Close()
			}
			β.do("ping")
			wantEcho(t, conn)
			for _, name := range []string{"α", "β", "γ", "δ", "ε"} {
				if _, err := p.join().NewHost(p.ctx, name); !errors.Is(err, virtnet.ErrHostDup) {
					t.Errorf("another host %s: %v", name, err)
				}
			}
			α.do("close", "α")
			eventually(t, "the name is free", func() bool {
				h, err := p.join().NewHost(p.ctx, "α")
				return err == nil && h != nil
			})
			if list, err := p.cfg.ListNetwork(p.ctx, "t"); err != nil || list.Processes < 4 {
				t.Errorf("list: %+v, %v", list, err)
			}
		})
	}
}

// What cannot be mended is an error that says so each time; all that needs no registry goes on.
func TestRecoverLater(t *testing.T) {
	p := newPlace(t)
	α := p.member("α")
	α.do("listen", "α", "α:1")
	α.do("echo", "α:1")
	n := p.join()
	β := must[*virtnet.Host](t)(n.NewHost(p.ctx, "β"))
	conn := p.dial(β, "α:1")
	base := filepath.Join(p.cfg.TempDir, "lonet")
	if err := errors.Join(os.RemoveAll(base), os.WriteFile(base, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		quickly(t, "saying that a host cannot be made", func() {
			_, err := n.NewHost(p.ctx, "γ")
			for _, want := range []string{p.path("t"), "was removed or replaced while in use, and cannot be opened again", base + " is not a directory", "remove it"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("NewHost: %v, want %q in it", err, want)
				}
			}
		})
		if _, err := β.Dial(p.ctx, "nobody:1"); err == nil || errors.Is(err, virtnet.ErrNoHost) || !strings.Contains(err.Error(), "while in use") {
			t.Errorf("a dial to a host of which nobody can tell whether it is there: %v", err)
		}
		wantEcho(t, conn)
		p.dial(β, "α:1").Close()
	}
	if err := os.Remove(base); err != nil {
		t.Fatal(err)
	}
	if _, err := n.NewHost(p.ctx, "γ"); err != nil {
		t.Error(err)
	}
	eventually(t, "a newcomer finds all", func() bool {
		h := p.host("δ")
		defer h.Close()
		for _, addr := range []string{"α:1", "β:7", "γ:7"} {
			if _, err := h.Dial(p.ctx, addr); err != nil && !errors.Is(err, virtnet.ErrConnRefused) || errors.Is(err, virtnet.ErrNoHost) {
				return false
			}
		}
		return true
	})
	wantEcho(t, conn)
}

// The directory of networks has become another user's, who lets nobody in.
func TestRecoverNotWritable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be another user")
	}
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	c := p.asUser(12345)
	c.do("join", p.cfg.TempDir, "t")
	c.do("host", "α")
	base := filepath.Join(p.cfg.TempDir, "lonet")
	if err := errors.Join(os.RemoveAll(base), os.Mkdir(base, 0o755), os.Chmod(base, 0o755)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.wantError([]any{"host", "β"}, p.path("t"), "while in use", "permission denied", "have its owner run chmod 1777 on it")
	}
	if err := os.Chmod(base, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	c.do("host", "β")
	other := p.asUser(12345)
	other.do("join", p.cfg.TempDir, "t")
	other.wantError([]any{"host", "α"}, "host already registered")
}

// Who has joined while the registry could only be read can write as soon as it may.
func TestRecoverReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be another user")
	}
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	c := p.asUser(12345)
	c.do("tryjoin", p.cfg.TempDir, "t")
	chmod := func(mode os.FileMode) {
		t.Helper()
		for _, file := range must[[]string](t)(filepath.Glob(p.path("t") + "*")) { // SQLite gives its own the same mode
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	chmod(0o444)
	c.do("join", p.cfg.TempDir, "t")
	for range 2 {
		c.wantError([]any{"host", "α"}, p.path("t"), "readonly database", "make the network's files writable")
	}
	chmod(0o644)
	c.do("host", "α")
}

// While the registry was lost somebody else has made a host of the same name. Both live: the name is the other's, and who
// knows the first goes on with it.
func TestRecoverLostName(t *testing.T) {
	p := newPlace(t)
	first := p.member("α")
	first.do("listen", "α", "α:1")
	first.do("echo", "α:1")
	β := p.host("β")
	conn := p.dial(β, "α:1")
	first.signal(syscall.SIGSTOP) // or it would be faster
	if err := os.RemoveAll(filepath.Dir(p.path("t"))); err != nil {
		t.Fatal(err)
	}
	second := newChild(t)
	second.do("join", p.cfg.TempDir, "t")
	second.do("host", "α")
	second.do("listen", "α", "α:2")
	second.do("echo", "α:2")
	first.signal(syscall.SIGCONT)
	first.do("host", "more")
	wantEcho(t, conn)
	p.dial(β, "α:1").Close() // β remembers where it was
	γ := p.host("γ")
	p.dial(γ, "α:2").Close()
	if _, err := γ.Dial(p.ctx, "α:1"); !errors.Is(err, virtnet.ErrConnRefused) {
		t.Errorf("the first α is dialled: %v", err)
	}
	first.do("dial", "α", "α:2") // it dials as ever, and its own name is the other's
	first.do("close", "α")
	p.dial(γ, "α:2").Close()
	first.wantError([]any{"host", "α"}, "host already registered")
	second.do("close", "α")
	first.do("host", "α")
}

// A sub-network on which nothing happens looks after its files by itself, and tells the log.
func TestRecoverIdle(t *testing.T) {
	p := newPlace(t)
	var mu sync.Mutex
	var log strings.Builder
	p.cfg.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil))
	p.host("α")
	dir := filepath.Dir(p.path("t"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "α is registered again", func() bool {
		list, err := lonet.Config{TempDir: p.cfg.TempDir}.ListNetwork(p.ctx, "t")
		return err == nil && len(list.Hosts) == 1 && list.Hosts[0].State == lonet.Alive
	})
	mu.Lock()
	defer mu.Unlock()
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "the registry was lost while in use") {
		t.Errorf("log: %s", got)
	}
}

type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A dial that fails because the registry is out of date is tried again with one that is not, within the same call.
func TestRecoverDial(t *testing.T) {
	p := newPlace(t)
	α := p.member("α")
	α.do("listen", "α", "α:1")
	α.do("echo", "α:1")
	β := p.host("β")
	p.dial(β, "α:1").Close()
	α.kill()
	if err := os.RemoveAll(filepath.Dir(p.path("t"))); err != nil {
		t.Fatal(err)
	}
	again := p.member("α") // the same host, in the new registry
	again.do("listen", "α", "α:1")
	again.do("echo", "α:1")
	quickly(t, "dialling", func() { p.dial(β, "α:1").Close() })
}

// wantEcho checks that who is at the other end of a connection echoes.
func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	var b [1]byte
	err := c.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = c.Write([]byte{7})
	}
	if err == nil {
		_, err = c.Read(b[:])
	}
	if err != nil || b[0] != 7 {
		t.Errorf("the connection does not echo: %v", err)
	}
}
