package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// now removes whatever nobody uses.
var now = GC{MinAge: -1}

// gc runs GC, which must not fail.
func gc(t *testing.T, c Config, network string, how GC) Swept {
	t.Helper()
	s, err := c.GC(t.Context(), network, how)
	if err != nil {
		t.Fatalf("gc: %v", err)
	}
	return s
}

// poke runs statements on a registry, as another program that comes for just that.
func poke(t *testing.T, path string, queries ...string) {
	t.Helper()
	conn := bareDB(t, path)
	mustExec(t, conn, queries...)
	conn.Close()
}

// peek returns all rows of a query, likewise.
func peek(t *testing.T, path, query string) string {
	t.Helper()
	conn := bareDB(t, path)
	defer conn.Close()
	return table(t, conn, query)
}

// wantGone checks that nothing is left of the network.
func wantGone(t *testing.T, c Config, network string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(c.Dir(), network)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

// setAge makes a network look as if it had last been used that long ago.
func setAge(t *testing.T, c Config, network string, age time.Duration) {
	t.Helper()
	dir := filepath.Join(c.Dir(), network)
	at := time.Now().Add(-age)
	if err := errors.Join(os.Chtimes(registryPath(dir), at, at), os.Chtimes(dir, at, at)); err != nil {
		t.Fatal(err)
	}
}

func TestGCAge(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	join(t, c, "n").leave()
	for _, test := range []struct {
		age  time.Duration
		how  GC
		kept string
	}{
		{0, GC{}, "it was used less than 1m0s ago"},
		{50 * time.Second, GC{}, "it was used less than 1m0s ago"},
		{70 * time.Second, GC{MinAge: time.Hour}, "it was used less than 1h0m0s ago"},
		{-30 * time.Second, GC{}, "it was used less than 1m0s ago"}, // the clock was put back a little
		{-time.Hour, GC{DryRun: true}, ""},
		{0, GC{DryRun: true, MinAge: -1}, ""},
		{70 * time.Second, GC{DryRun: true}, ""},
		{70 * time.Second, GC{}, ""}, // neither the dry run nor a listing counts as use
	} {
		if test.age != 0 {
			setAge(t, c, "n", test.age)
		}
		if _, err := c.ListNetwork(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
		if s := gc(t, c, "n", test.how); s.Kept != test.kept || s.Removed != (test.kept == "") {
			t.Errorf("after %v, %+v: got %+v, want it kept: %q", test.age, test.how, s, test.kept)
		}
	}
	wantGone(t, c, "n")
	if _, err := c.GC(t.Context(), "n", now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gc of no network: %v", err)
	}
}

// A killed process leaves its mark, and its network goes with that, however young it is.
func TestGCKilled(t *testing.T) {
	c := Config{TempDir: t.TempDir(), Probe: probe}
	other := newChild(t)
	other.do("open", c.TempDir, "n")
	other.do("announce", "α")
	other.do("announce", "β")
	addr := other.do("addr")
	if s := gc(t, c, "n", now); s.Removed || s.Kept != "1 process is on it" {
		t.Errorf("while it lives: %+v", s)
	}
	other.kill()
	port, _ := parseAddr(addr)
	want := fmt.Sprintf("{%s [{α %s unmarked} {β %s unmarked}] [%d.live] true  []}", filepath.Join(c.Dir(), "n"), addr, addr, port)
	for _, dry := range []bool{true, false} {
		if s := gc(t, c, "n", GC{DryRun: dry}); fmt.Sprint(s) != want {
			t.Errorf("dry run %v: got %v, want %s", dry, s, want)
		}
	}
	wantGone(t, c, "n")
}

// What is dead goes, what lives stays, in one network.
func TestGCInUse(t *testing.T) {
	c := Config{TempDir: t.TempDir(), Probe: probe}
	m := join(t, c, "n")
	if err := m.announce(t.Context(), "α"); err != nil {
		t.Fatal(err)
	}
	other := newChild(t)
	other.do("open", c.TempDir, "n")
	other.do("announce", "β")
	other.kill()
	poke(t, m.path, "INSERT INTO hosts VALUES ('γ', '127.0.0.1:1')")
	os.WriteFile(markPath(m.dir, 2), nil, 0o600)
	os.WriteFile(filepath.Join(m.dir, "notes"), nil, 0o600)

	for range 2 {
		s := gc(t, c, "n", now)
		var hosts []string
		for _, row := range s.Rows {
			hosts = append(hosts, row.Name)
		}
		if s.Removed || s.Kept != "1 process is on it" || !slices.Equal(s.Foreign, []string{"notes"}) {
			t.Errorf("got %+v", s)
		}
		if peek(t, m.path, "SELECT * FROM hosts") != "α|"+m.osladdr {
			t.Errorf("hosts: %s", peek(t, m.path, "SELECT * FROM hosts"))
		}
		if marks, _ := filepath.Glob(filepath.Join(m.dir, "*.live")); len(marks) != 1 || marks[0] != m.mark.path {
			t.Errorf("marks: %v", marks)
		}
		if len(hosts)+len(s.Marks) != 0 && (!slices.Equal(hosts, []string{"β", "γ"}) || len(s.Marks) != 2) {
			t.Errorf("removed hosts %v, marks %v", hosts, s.Marks)
		}
	}
	wantQuery(t, m, "α", m.osladdr)
}

// every mark × every answer: is the row kept, and with it the network?
func TestGCJudges(t *testing.T) {
	const addr = "127.0.0.1:9"
	for _, test := range []struct {
		state  State
		answer Answer
		kept   string // in the reason
	}{
		{Unmarked, Present, `host "β" at 127.0.0.1:9 is alive`},
		{Unmarked, Silent, "or may be stopped"},
		{Unmarked, NoSuchHost, ""},
		{Unmarked, Nobody, ""},
		{Gone, Present, "is alive"},
		{Gone, Silent, ""},
		{Gone, NoSuchHost, ""},
		{Gone, Nobody, ""},
		{Running, Present, "1 process is on it"},
		{Running, Silent, "1 process is on it"},
		{Running, NoSuchHost, "1 process is on it"},
		{Running, Nobody, "1 process is on it"},
	} {
		c := Config{TempDir: t.TempDir(), Probe: answers(test.answer)}
		oldNetwork(t, c, "n", "INSERT INTO hosts VALUES ('α', '"+addr+"'), ('β', '"+addr+"')")
		dir := filepath.Join(c.Dir(), "n")
		if test.state != Unmarked {
			mark, err := takeMark(t.Context(), markPath(dir, 9))
			if err != nil {
				t.Fatal(err)
			}
			defer mark.unlock()
			if test.state == Gone {
				mark.unlock()
			}
		}
		for _, dry := range []bool{true, false} {
			s := gc(t, c, "n", GC{DryRun: dry, MinAge: -1, Force: true}) // which changes nothing about it
			if s.Removed != (test.kept == "") || !strings.Contains(s.Kept, test.kept) || (len(s.Rows) == 2) != s.Removed {
				t.Errorf("%v, answer %d: got %+v, want it kept: %q", test.state, test.answer, s, test.kept)
			}
		}
		if test.kept == "" {
			wantGone(t, c, "n")
		} else if got := peek(t, registryPath(dir), "SELECT count(*) FROM hosts"); got != "2" {
			t.Errorf("%v, answer %d: %s rows are left", test.state, test.answer, got)
		}
	}
}

// A process with many hosts that does not answer is asked once.
func TestGCAsksOnce(t *testing.T) {
	for _, test := range []struct {
		answer Answer
		asked  int64
	}{{Silent, 1}, {Nobody, 1}, {Present, 20}} {
		var asked atomic.Int64
		c := Config{TempDir: t.TempDir(), Probe: func(context.Context, string, string) (Answer, error) {
			asked.Add(1)
			return test.answer, nil
		}}
		oldNetwork(t, c, "n")
		conn := bareDB(t, registryPath(filepath.Join(c.Dir(), "n")))
		for i := range 20 {
			mustExec(t, conn, fmt.Sprintf("INSERT INTO hosts VALUES ('h%d', '127.0.0.1:9')", i))
		}
		gc(t, c, "n", now)
		if asked.Load() != test.asked {
			t.Errorf("answer %d: asked %d times, want %d", test.answer, asked.Load(), test.asked)
		}
	}
}

// Whoever comes while the network is being judged is not lost, whatever traces there are of it.
func TestGCMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name string
		come func(t *testing.T, c Config, path string)
		kept string
	}{
		{"a row", func(t *testing.T, _ Config, path string) {
			poke(t, path, "INSERT INTO hosts VALUES ('β', '127.0.0.1:8')")
		}, `host "β" has just come`},
		{"a program that has the registry open", func(t *testing.T, _ Config, path string) {
			table(t, bareDB(t, path), "SELECT * FROM hosts")
		}, "a program has its registry open"},
		{"one of ours", func(t *testing.T, c Config, _ string) { join(t, c, "n") }, "somebody has just joined it"},
		{"a mark", func(t *testing.T, _ Config, path string) {
			mark, err := takeMark(t.Context(), markPath(filepath.Dir(path), 7))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { mark.unlock() })
		}, "somebody has just joined it"},
		{"nobody", func(*testing.T, Config, string) {}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tmp := t.TempDir()
			oldNetwork(t, Config{TempDir: tmp}, "n", "INSERT INTO hosts VALUES ('α', '127.0.0.1:9')")
			path := registryPath(filepath.Join(tmp, "lonet", "n"))
			c := Config{TempDir: tmp, Probe: func(context.Context, string, string) (Answer, error) {
				test.come(t, Config{TempDir: tmp}, path)
				return Nobody, nil
			}}
			s := gc(t, c, "n", now)
			if s.Kept != test.kept || s.Removed != (test.kept == "") {
				t.Errorf("got %+v, want it kept: %q", s, test.kept)
			}
			if test.kept == "" {
				wantGone(t, c, "n")
			} else if got := peek(t, path, "SELECT count(*) FROM hosts WHERE hostname = 'α'"); got != "0" {
				t.Error("the dead row is still there")
			}
		})
	}
}

func TestGCForeignFiles(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	outside := filepath.Join(c.TempDir, "outside")
	os.WriteFile(outside, []byte("text"), 0o600)
	join(t, c, "n").leave()
	dir := filepath.Join(c.Dir(), "n")
	os.WriteFile(filepath.Join(dir, "notes"), []byte("text"), 0o600)
	os.WriteFile(filepath.Join(dir, "05.live"), nil, 0o600)
	os.Mkdir(filepath.Join(dir, "7.live"), 0o700)
	os.WriteFile(filepath.Join(dir, "7.live", "x"), nil, 0o600)
	want := []string{"05.live", "7.live", "notes"}
	if os.Symlink(outside, filepath.Join(dir, "6.live")) == nil {
		want = []string{"05.live", "6.live", "7.live", "notes"}
	}
	os.WriteFile(markPath(dir, 8), nil, 0o600)
	if s := gc(t, c, "n", GC{DryRun: true, MinAge: -1}); !s.Removed || !slices.Equal(s.Foreign, want) {
		t.Errorf("dry run: %+v, want foreign files %q", s, want)
	}
	for _, removed := range []bool{true, false} {
		s := gc(t, c, "n", now)
		if s.Removed != removed || !slices.Equal(s.Foreign, want) {
			t.Errorf("got %+v, want foreign files %q and that it was removed: %v", s, want, removed)
		}
		entries, _ := os.ReadDir(dir)
		var left []string
		for _, e := range entries {
			left = append(left, e.Name())
		}
		if !slices.Equal(left, want) {
			t.Errorf("left are %q, want %q", left, want)
		}
	}
	if text, err := os.ReadFile(outside); string(text) != "text" {
		t.Errorf("a link was followed: %v", err)
	}
	join(t, c, "n") // the directory is as good as any
}

func TestGCDryRun(t *testing.T) {
	c := Config{TempDir: t.TempDir(), Probe: answers(Nobody)}
	oldNetwork(t, c, "n", "INSERT INTO hosts VALUES ('α', '127.0.0.1:9'), ('β', '127.0.0.1:8')")
	dir := filepath.Join(c.Dir(), "n")
	os.WriteFile(markPath(dir, 9), nil, 0o600)
	os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600)
	setAge(t, c, "n", time.Hour)
	state := func() string {
		var text strings.Builder
		for _, path := range append(files(t, c.Dir()), c.Dir()) {
			fi, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&text, path, fi.Size(), fi.ModTime())
		}
		return text.String()
	}
	before := state()
	dry := gc(t, c, "n", GC{DryRun: true})
	if after := state(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if got := peek(t, registryPath(dir), "SELECT count(*) FROM hosts"); got != "2" {
		t.Errorf("%s rows are left", got)
	}
	setAge(t, c, "n", time.Hour)
	if wet := gc(t, c, "n", GC{}); fmt.Sprint(wet) != fmt.Sprint(dry) || !dry.Removed || len(dry.Rows) != 2 || len(dry.Marks) != 1 {
		t.Errorf("dry run: %+v\nthen:    %+v", dry, wet)
	}
}

// A registry that cannot be read is left alone, and removed by force unless somebody is there.
func TestGCSpoilt(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, c Config, path string)
		kept  string // without force; empty if it is removed
	}{
		{"no database", func(t *testing.T, _ Config, path string) {
			os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600)
		}, "its registry cannot be read (sqlite: prepare: file is not a database); it is removed only by force"},
		{"cut off", func(t *testing.T, c Config, path string) { os.Truncate(path, 5000) }, "its registry cannot be read"},
		{"later version", func(t *testing.T, c Config, path string) {
			poke(t, path, "UPDATE meta SET value = 'lonet.2' WHERE name = 'schemaver'")
		}, `its registry cannot be read (schema version mismatch: want "lonet.1"; have "lonet.2")`},
		{"another's tables", func(t *testing.T, c Config, path string) {
			poke(t, path, "DROP TABLE hosts", "CREATE TABLE accounts (x)")
		}, "its registry cannot be read (not a lonet registry"},
		{"not made to the end", func(t *testing.T, c Config, path string) {
			poke(t, path, "DROP TABLE meta")
		}, ""},
		{"empty", func(t *testing.T, c Config, path string) { os.Truncate(path, 0) }, ""},
		{"no registry", func(t *testing.T, c Config, path string) { os.Remove(path) }, ""},
		{"row of nobody", func(t *testing.T, c Config, path string) {
			poke(t, path, "INSERT INTO hosts VALUES ('α', 'elsewhere')")
		}, `of host "α" at "elsewhere" nobody can tell whether it is there; it is removed only by force`},
		{"sweeper killed", func(t *testing.T, c Config, path string) { os.Remove(path); os.Mkdir(path, 0o700) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{TempDir: t.TempDir()}
			oldNetwork(t, c, "n")
			dir := filepath.Join(c.Dir(), "n")
			path := registryPath(dir)
			test.spoil(t, c, path)
			mark, err := takeMark(t.Context(), markPath(dir, 9))
			if err != nil {
				t.Fatal(err)
			}
			if s := gc(t, c, "n", GC{MinAge: -1, Force: true}); s.Removed || s.Kept != "1 process is on it" {
				t.Errorf("with a mark that is held: %+v", s)
			}
			mark.remove()
			before := files(t, c.Dir())
			for _, how := range []GC{{DryRun: true, MinAge: -1}, {MinAge: -1}} {
				if s := gc(t, c, "n", how); !strings.HasPrefix(s.Kept, test.kept) || s.Removed != (test.kept == "") {
					t.Errorf("%+v: got %+v, want it kept: %q", how, s, test.kept)
				}
			}
			if test.kept != "" {
				if after := files(t, c.Dir()); !slices.Equal(after, before) {
					t.Errorf("files before %v, after %v", before, after)
				}
				if s := gc(t, c, "n", GC{MinAge: -1, Force: true}); !s.Removed {
					t.Errorf("by force: %+v", s)
				}
			}
			wantGone(t, c, "n")
		})
	}
}

func TestGCRefused(t *testing.T) {
	c := Config{TempDir: t.TempDir()}
	join(t, c, "n").leave()
	dir := filepath.Join(c.Dir(), "n")
	for name, want := range map[string]string{
		"a/b":  "network name: invalid name",
		"link": "is a symbolic link",
		"file": "is not a directory",
	} {
		os.Symlink(dir, filepath.Join(c.Dir(), "link"))
		os.WriteFile(filepath.Join(c.Dir(), "file"), nil, 0o600)
		if _, err := c.GC(t.Context(), name, GC{MinAge: -1, Force: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", name, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.GC(ctx, "n", now); err != context.Canceled {
		t.Errorf("got %v, want the context's error", err)
	}
	failure := errors.New("too many open files")
	c.Probe = func(context.Context, string, string) (Answer, error) { return Nobody, failure }
	poke(t, registryPath(dir), "INSERT INTO hosts VALUES ('α', '127.0.0.1:9')")
	if s, err := c.GC(t.Context(), "n", now); err != failure {
		t.Errorf("got %+v, %v, want the prober's error", s, err)
	}
	if _, err := os.Stat(registryPath(dir)); err != nil {
		t.Error(err)
	}
}

// A registry that another program holds locked is left alone.
func TestGCLocked(t *testing.T) {
	c := Config{TempDir: t.TempDir(), Probe: answers(Nobody)}
	oldNetwork(t, c, "n")
	unlock := keepLocked(t, registryPath(filepath.Join(c.Dir(), "n")))
	if s := gc(t, c, "n", now); s.Kept != "a program has its registry open" {
		t.Errorf("got %+v", s)
	}
	unlock()
}
