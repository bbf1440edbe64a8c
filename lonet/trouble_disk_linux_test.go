package lonet_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func init() {
	extra["mount"] = func(args []string) (string, error) { // DIR SIZE: makes it a file system of that size
		return "", syscall.Mount("none", args[0], "tmpfs", 0, "mode=1777,size="+args[1])
	}
	extra["remount"] = func(args []string) (string, error) { // DIR SIZE [ro]: changes that
		var flags uintptr = syscall.MS_REMOUNT
		if args[2] == "ro" {
			flags |= syscall.MS_RDONLY
		}
		return "", syscall.Mount("none", args[0], "tmpfs", flags, "size="+args[1])
	}
	extra["fill"] = func(args []string) (string, error) { // DIR: leaves no space in it
		return "", fill(filepath.Join(args[0], "filler"))
	}
	extra["unfill"] = func(args []string) (string, error) {
		return "", os.Remove(filepath.Join(args[0], "filler"))
	}
}

// fill writes a file as long as there is space.
func fill(path string) error {
	f, err := os.Create(path)
	for size := 4096; err == nil; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) && size > 1 {
			size, err = 1, nil
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// ownMounts starts a child that sees mounts that nobody else sees, and that go with it. The test is left out where
// this user can't.
func ownMounts(t testing.TB) *child {
	t.Helper()
	unshare := func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} }
	try := exec.Command(os.Args[0])
	try.Env = append(os.Environ(), childEnv+"=1") // it ends at once, as it is told nothing
	unshare(try)
	if err := try.Run(); err != nil {
		t.Skipf("left out: only root can mount a small file system, and a container may not let it: %v", err)
	}
	return startChild(t, unshare)
}

// smallDisk starts a child whose temporary directory is a file system of its own, of that size.
func (p *place) smallDisk(size string) *child {
	p.Helper()
	c := ownMounts(p)
	c.do("mount", p.cfg.TempDir, size)
	return c
}

// A Join that finds too little space says so, and where, and leaves nothing open; once there is space it joins. What
// is missing is another thing at each size.
func TestJoinDiskFull(t *testing.T) {
	p := newPlace(t)
	c := p.smallDisk("1m")
	tmp := p.cfg.TempDir
	c.do("tryjoin", tmp, "first") // a process's first sub-network takes descriptors that stay
	open := c.do("descriptors")
	failed := 0
	for _, free := range []int{0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16} {
		network := fmt.Sprint("n", free)
		c.do("fill", tmp)
		c.do("remount", tmp, fmt.Sprintf("%dk", 1024+4*free)) // and that is all there is
		c.send("tryjoin", tmp, network)
		if _, err := c.reply(); err != nil {
			failed++
			for _, want := range []string{"[ENOSPC]", p.path(network), "no space left on device", "make room"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("with %d pages: error %v, want %q in it", free, err, want)
				}
			}
		}
		if got := c.do("descriptors"); got != open {
			t.Errorf("with %d pages: %s descriptors, want %s", free, got, open)
		}
		c.do("unfill", tmp)
		c.do("tryjoin", tmp, network)
		c.do("remount", tmp, "1m")
	}
	if failed < 5 {
		t.Errorf("only %d Joins lacked space", failed)
	}
}

// While the disk is full no host can be made; those that are there, and dials to them, go on, and hosts can be closed.
// Then all is as before.
func TestDiskFull(t *testing.T) {
	p := newPlace(t)
	c := p.smallDisk("10m") // SQLite's log alone may have 4
	tmp := p.cfg.TempDir
	c.do("join", tmp, "t")
	for _, host := range []string{"α", "β", "δ"} {
		c.do("host", host)
	}
	for _, addr := range []string{"α:1", "β:1"} {
		c.do("listen", addr[:len("α")], addr)
		c.do("echo", addr)
	}
	for round := range 3 {
		c.do("fill", tmp)
		want := []string{"[ENOSPC]", p.path("t"), "no space left on device", "make room"}
		c.wantError([]any{"host", "γ"}, want...)
		c.wantError([]any{"tryjoin", tmp, "other"}, "[ENOSPC]")
		for _, addr := range []string{"α:1", "β:1", "α:1"} { // of one of them the address is not known at first
			c.do("dial", "β", addr)
			c.do("ping")
			c.do("hangup")
		}
		c.wantError([]any{"dial", "β", "nohost:1"}, "no such host")
		c.do("close", "δ") // its row stays: it is dead by rule
		if round == 0 {
			<-time.After(1500 * time.Millisecond) // for what goes on by the clock
		}
		c.wantError([]any{"dial", "β", "δ:1"}, "no such host")

		c.do("unfill", tmp)
		c.do("host", "δ")
		c.do("host", "γ")
		c.do("close", "γ")
		c.do("tryjoin", tmp, "other")
		c.do("churn", 100)
	}
	if got := c.do("sql", p.path("t"), "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("the registry: %s", got)
	}
	c.do("fill", tmp)
	quickly(t, "leaving", func() { c.do("leave") })
	c.do("unfill", tmp)
	c.do("join", tmp, "t")
	c.do("host", "α")
}

// A Join in a read-only file system says so, of a network that is there and of a new one, and joins both when it is
// not read-only any more.
func TestReadOnlyDisk(t *testing.T) {
	p := newPlace(t)
	c := p.smallDisk("1m")
	tmp := p.cfg.TempDir
	c.do("tryjoin", tmp, "t")
	c.do("remount", tmp, "1m", "ro")
	for _, network := range []string{"t", "other"} {
		c.wantError([]any{"tryjoin", tmp, network}, "[EROFS]", p.path(network), "read-only file system", "use another temporary directory")
	}
	c.do("remount", tmp, "1m")
	c.do("tryjoin", tmp, "t")
	c.do("tryjoin", tmp, "other")
}

// The same as another user who may not write there.
func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: only root can be another user")
	}
	p := newPlace(t)
	openTemp(t, &p.cfg.TempDir)
	tmp := p.cfg.TempDir
	const user = 12345
	c := p.asUser(user)
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(tmp, 0o555)
	c.wantError([]any{"tryjoin", tmp, "t"}, "[EACCES]", p.path("t"), "permission denied", "use another temporary directory")
	chmod(tmp, 0o777|os.ModeSticky)
	c.do("tryjoin", tmp, "t")

	chmod(p.path("t"), 0o444)
	c.do("join", tmp, "t") // it only reads
	c.wantError([]any{"host", "α"}, p.path("t"), "readonly database", "make the network's files writable")
	c.do("leave")
	for _, file := range must[[]string](t)(filepath.Glob(p.path("t") + "*")) { // SQLite has given its own the same mode
		chmod(file, 0o644)
	}
	c.do("join", tmp, "t")
	c.do("host", "α")

	if err := os.Chown(filepath.Join(tmp, "lonet"), 1, 1); err != nil {
		t.Fatal(err)
	}
	chmod(filepath.Join(tmp, "lonet"), 0o755)
	c.do("tryjoin", tmp, "t") // which is there
	c.wantError([]any{"tryjoin", tmp, "other"}, "[EACCES]", p.path("other"), "have its owner run chmod 1777 on it")
}
