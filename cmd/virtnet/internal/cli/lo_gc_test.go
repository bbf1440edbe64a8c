package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/lonet"
)

// left makes networks that were left an hour ago.
func left(t *testing.T, tmp string, networks ...string) {
	t.Helper()
	for _, network := range networks {
		n, err := lonet.Join(t.Context(), network)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		anHourAgo(t, filepath.Join(tmp, "lonet", network))
	}
}

// anHourAgo makes a network look as if it had last been used then.
func anHourAgo(t *testing.T, dir string) {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chtimes(filepath.Join(dir, "registry.db"), at, at), os.Chtimes(dir, at, at)); err != nil {
		t.Fatal(err)
	}
}

// killed makes a process with host α on a network, and kills it. It returns where it was.
func killed(t *testing.T, network string) (osladdr string) {
	t.Helper()
	process := start(t, processCommand)
	fmt.Fprintf(process.stdin, `{"network": %q, "host": "α", "dir": %q}`, network, t.TempDir())
	process.until("ready")
	n, err := lonet.Config{}.ListNetwork(t.Context(), network)
	if err != nil || len(n.Hosts) == 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	process.cmd.Process.Kill()
	process.cmd.Wait()
	return n.Hosts[0].Addr
}

func TestLoGc(t *testing.T) {
	tmp := tempDir(t)
	if code, stdout, stderr := run("lo", "gc"); code != exitOK || stdout != "Removed: 0 networks, 0 hosts, 0 marks; kept: 0 networks.\n" || stderr != "" {
		t.Errorf("without networks: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	left(t, tmp, "old")
	join(t, "tea", "β")
	addr := killed(t, "tea")
	old := filepath.Join(tmp, "lonet", "old")
	if err := os.WriteFile(filepath.Join(old, "a\u202eb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	anHourAgo(t, old)
	mark := strings.TrimPrefix(addr, "127.0.0.1:") + ".live"
	want := func(removed, Removed string) string {
		return strings.Join([]string{
			"old: " + removed,
			`  "a\u202eb" kept, it is not lonet's`,
			"tea: kept, 1 process is on it",
			"  host α at " + addr + " " + removed + ", its process is gone",
			"  mark " + mark + " " + removed + ", its process is gone",
			Removed + ": 1 network, 1 host, 1 mark; kept: 1 network.",
		}, "\n") + "\n"
	}
	for _, test := range []struct{ args, want string }{
		{"lo gc -n", want("would be removed", "Would be removed")},
		{"lo gc --dry-run", want("would be removed", "Would be removed")},
		{"lo gc", want("removed", "Removed")},
	} {
		if code, stdout, stderr := run(strings.Fields(test.args)...); code != exitOK || stdout != test.want || stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q, stdout\n%s\nwant\n%s", test.args, code, stderr, stdout, test.want)
		}
	}
	if files, _ := os.ReadDir(old); len(files) != 1 {
		t.Errorf("left are %v", files)
	}
	if _, stdout, _ := run("lo", "ls", "tea"); !strings.Contains(stdout, "β") || strings.Contains(stdout, "α") {
		t.Errorf("then there is\n%s", stdout)
	}
}

func TestLoGcOne(t *testing.T) {
	tmp := tempDir(t)
	left(t, tmp, "tea", "milk", "lonetmilk")
	join(t, "young")
	if code, stdout, stderr := run("lo", "gc", "lonettea"); code != exitOK || !strings.HasPrefix(stdout, "tea: removed\n") {
		t.Errorf("by its full name: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, _ := run("lo", "gc", "lonetmilk"); code != exitOK || !strings.HasPrefix(stdout, "lonetmilk: removed\n") {
		t.Errorf("one with that name: exit code %d, stdout %q", code, stdout)
	}
	if got, _ := filepath.Glob(filepath.Join(tmp, "lonet", "*")); len(got) != 2 {
		t.Errorf("left are %q", got)
	}
	for network, want := range map[string]string{
		"none":     "virtnet lo gc: there is no network \"none\"; \"virtnet lo ls\" lists those that there are\n",
		"lonettea": "virtnet lo gc: there is no network \"lonettea\";",
		"a/b":      "invalid name \"a/b\"",
	} {
		code, stdout, stderr := run("lo", "gc", network)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("network %q: exit code %d, stdout %q, stderr %q, want %q", network, code, stdout, stderr, want)
		}
	}
	if code, _, stderr := run("lo", "gc", "a", "b"); code != exitUsage || !strings.Contains(stderr, "unexpected argument \"b\"") {
		t.Errorf("two networks: exit code %d, stderr %q", code, stderr)
	}
}

func TestLoGcForce(t *testing.T) {
	tmp := tempDir(t)
	left(t, tmp, "tea")
	dir := filepath.Join(tmp, "lonet", "tea")
	if err := os.WriteFile(filepath.Join(dir, "registry.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	anHourAgo(t, dir)
	if code, stdout, stderr := run("lo", "gc"); code != exitOK || !strings.Contains(stdout, "tea: kept, its registry cannot be read (") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, stderr := run("lo", "gc", "-f"); code != exitOK || !strings.HasPrefix(stdout, "tea: removed\n") {
		t.Errorf("by force: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestLoGcJSON(t *testing.T) {
	tmp := tempDir(t)
	if code, stdout, _ := run("lo", "gc", "--json", "-n"); code != exitOK || stdout != "{\n  \"dry_run\": true,\n  \"networks\": []\n}\n" {
		t.Errorf("without networks: exit code %d, stdout %q", code, stdout)
	}
	join(t, "tea", "β")
	addr := killed(t, "tea")
	left(t, tmp, "old")
	code, stdout, stderr := run("lo", "gc", "--json")
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	var doc gcJSON
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || doc.DryRun || len(doc.Networks) != 2 {
		t.Fatalf("%v\n%s", err, stdout)
	}
	old, tea := doc.Networks[0], doc.Networks[1]
	if old.Network != "old" || old.Dir != filepath.Join(tmp, "lonet", "old") || !old.Removed || old.Kept != "" || old.Hosts == nil || old.Marks == nil || old.Foreign == nil {
		t.Errorf("old: %+v", old)
	}
	if tea.Network != "tea" || tea.Removed || tea.Kept != "1 process is on it" || tea.Error != "" ||
		!slices.Equal(tea.Hosts, []gcHostJSON{{"α", addr}}) || len(tea.Marks) != 1 {
		t.Errorf("tea: %+v", tea)
	}
}

// What could not be done is said of each network, and is a failure; the rest is done.
func TestWriteGC(t *testing.T) {
	results := []lonet.GCResult{
		{Network: "a", Err: errors.New("permission denied")},
		{Network: "o\u202en", Kept: "it belongs to another user"},
		{Network: "x", Removed: true, Hosts: []lonet.HostInfo{{Name: "\x1b", Addr: "\n"}, {Name: "h", Addr: "127.0.0.1:5"}}},
	}
	var out bytes.Buffer
	if err := writeGC(&out, results, false); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`a: an error, see below`,
		`"o\u202en": kept, it belongs to another user`,
		`x: removed`,
		`  host "\x1b" at "\n" removed, its process is gone`,
		`  host h at 127.0.0.1:5 removed, its process is gone`,
		`Removed: 1 network, 2 hosts, 0 marks; kept: 1 network.`,
	}, "\n") + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := writeGCJSON(&out, results, true); err != nil || !strings.Contains(out.String(), `"error": "permission denied"`) {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := gcErrors(results); err == nil || err.Error() != "network a: permission denied" {
		t.Errorf("error %v", err)
	}
}
