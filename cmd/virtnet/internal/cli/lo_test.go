package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/lonet"
)

// tempDir makes a new directory the system's temporary one.
func tempDir(t *testing.T) string {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	return tmp
}

// join joins a network, with these hosts, until the test ends.
func join(t *testing.T, network string, hosts ...string) {
	n, err := lonet.Join(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	for _, h := range hosts {
		if _, err := n.NewHost(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoLsNothing(t *testing.T) {
	dir := filepath.Join(tempDir(t), "lonet")
	for _, want := range []string{
		"There are no lonet networks: the directory " + dir + " is not there.\n",
		"There are no lonet networks in " + dir + ".\n",
	} {
		if code, stdout, stderr := run("lo", "ls"); code != exitOK || stdout != "" || stderr != want {
			t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, stdout, stderr, want)
		}
		os.Mkdir(dir, 0o700)
	}
}

// A network can be named as errors name it, unless another has literally that name.
func TestLoLsFullName(t *testing.T) {
	tempDir(t)
	join(t, "tea", "α")
	if code, stdout, stderr := run("lo", "ls", "lonettea"); code != exitOK || !strings.Contains(stdout, "α") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	join(t, "lonettea", "β")
	if _, stdout, _ := run("lo", "ls", "lonettea"); !strings.Contains(stdout, "β") || strings.Contains(stdout, "α") {
		t.Errorf("when there is one with that name:\n%s", stdout)
	}
}

func TestLoLs(t *testing.T) {
	tempDir(t)
	if code, stdout, _ := run("lo", "ls", "--json"); code != exitOK || stdout != "{\n  \"networks\": []\n}\n" {
		t.Errorf("without networks, as JSON: exit code %d, stdout %q", code, stdout)
	}

	join(t, "tea", "β", "α")
	join(t, "empty")
	code, stdout, stderr := run("lo", "ls")
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	var got [][]string
	for line := range strings.Lines(stdout) {
		got = append(got, strings.Fields(line))
	}
	for _, row := range got[2:] {
		if host, ok := strings.CutPrefix(row[2], "127.0.0.1:"); !ok || host == "" {
			t.Errorf("address %q", row[2])
		}
		row[2] = "127.0.0.1:port"
	}
	want := [][]string{
		{"NETWORK", "HOST", "ADDRESS", "STATE"},
		{"empty", "-", "-", "no", "hosts,", "1", "process"},
		{"tea", "α", "127.0.0.1:port", "alive"},
		{"tea", "β", "127.0.0.1:port", "alive"},
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %q\nwant %q", got, want)
	}

	if _, stdout, _ := run("lo", "ls", "empty"); strings.Contains(stdout, "tea") || !strings.Contains(stdout, "empty") {
		t.Errorf("ls of one network: %q", stdout)
	}
}

func TestLoLsJSON(t *testing.T) {
	tmp := tempDir(t)
	join(t, "tea", "α")
	join(t, "other")
	code, stdout, stderr := run("lo", "ls", "tea", "--json")
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	var doc loJSON
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if len(doc.Networks) != 1 || len(doc.Networks[0].Hosts) != 1 {
		t.Fatalf("got %s", stdout)
	}
	n := doc.Networks[0]
	if n.Network != "tea" || n.Dir != filepath.Join(tmp, "lonet", "tea") || n.Processes != 1 || n.Error != "" {
		t.Errorf("network %+v", n)
	}
	if h := n.Hosts[0]; h.Host != "α" || h.State != "alive" || !strings.HasPrefix(h.Addr, "127.0.0.1:") {
		t.Errorf("host %+v", h)
	}
}

func TestLoLsErrors(t *testing.T) {
	tempDir(t)
	for network, want := range map[string]string{
		"none": "virtnet lo ls: there is no network \"none\"; \"virtnet lo ls\" lists those that there are\n",
		"a/b":  "invalid name \"a/b\"",
		// Nor is there one of which that is the full name.
		"lonetnone": "virtnet lo ls: there is no network \"lonetnone\";",
		"lonet":     "virtnet lo ls: there is no network \"lonet\";",
	} {
		code, stdout, stderr := run("lo", "ls", network)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("network %q: exit code %d, stdout %q, stderr %q, want %q", network, code, stdout, stderr, want)
		}
	}
}

func TestWriteTable(t *testing.T) {
	var out bytes.Buffer
	err := writeTable(&out, []lonet.NetworkInfo{
		{Name: "a", Err: errors.New("belongs to another user")},
		{Name: "network", Hosts: []lonet.HostInfo{
			{Name: "host", Addr: "127.0.0.1:5", State: lonet.Dead},
			{Name: "a\x1b[2J", State: lonet.Unknown},
		}},
		{Name: "o\u202en"}, // which turns what follows around
	})
	want := strings.Join([]string{
		`NETWORK     HOST        ADDRESS      STATE`,
		`a           -           -            belongs to another user`,
		`network     host        127.0.0.1:5  dead`,
		`network     "a\x1b[2J"  ""           unknown`,
		`"o\u202en"  -           -            no hosts, 0 processes`,
	}, "\n") + "\n"
	if err != nil || out.String() != want {
		t.Errorf("got  %q (%v)\nwant %q", out.String(), err, want)
	}
}
