//go:build unix

package lonet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asUser starts a child that is another user.
func (p *place) asUser(uid uint32) *child {
	p.Helper()
	// The child's user must be able to run this binary, which lies in a directory of this user's own.
	binary := filepath.Join(p.cfg.TempDir, "child")
	if _, err := os.Stat(binary); err != nil {
		if err := os.WriteFile(binary, must[[]byte](p)(os.ReadFile(os.Args[0])), 0o755); err != nil {
			p.Fatal(err)
		}
		if err := os.Chmod(binary, 0o755); err != nil { // whatever the umask
			p.Fatal(err)
		}
	}
	return startChild(p, func(cmd *exec.Cmd) {
		cmd.Path = binary
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	})
}

// Every user of a machine can have networks, whoever came first; nobody can have another's.
func TestUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be several users")
	}
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	defer syscall.Umask(syscall.Umask(0o077)) // the strictest
	const first, second = 12345, 23456
	for _, uid := range []uint32{first, second, 0} {
		c := p.asUser(uid)
		network := map[uint32]string{first: "first", second: "second", 0: "root's"}[uid]
		c.do("join", p.cfg.TempDir, network)
		c.do("host", "α")
		c.do("listen", "α", "α:1")
		c.do("echo", "α:1")
		c.do("dial", "α", "α:1")
	}
	for _, test := range []struct {
		uid     uint32
		network string
		err     string
	}{
		{second, "first", "belongs to another user"},
		{first, "root's", "belongs to another user"},
		{0, "first", "belongs to another user"},
	} {
		c := p.asUser(test.uid)
		c.send("join", p.cfg.TempDir, test.network)
		if got, err := c.reply(); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("user %d joins %s: %q, %v", test.uid, test.network, got, err)
		}
	}
}

// openTemp makes a temporary directory that every user can use, as /tmp is one. t.TempDir is in one of this
// user's own.
func openTemp(t *testing.T, dir *string) {
	tmp := must[string](t)(os.MkdirTemp("", "lonet-test-"))
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	*dir = tmp
}
