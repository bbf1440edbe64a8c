package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be meant like this is said before anything is done, and anything else that keeps a command from starting, with
// what to do about it.
func TestJoinErrors(t *testing.T) {
	tmp := tempDir(t)
	join(t, "tea", "α")
	for _, test := range []struct {
		args string
		code int
		want string // in what is printed on standard error
	}{
		{"listen", exitUsage, "virtnet lo listen: NET is missing\nRun \"virtnet lo listen --help\" for help.\n"},
		{"listen tea", exitUsage, "HOST:PORT is missing"},
		{"listen tea α:1 x", exitUsage, "unexpected argument \"x\""},
		{"listen tea α", exitUsage, "address \"α\": missing port in address: it is a host and a port from 1 to 2147483647, such as α:80"},
		{"listen tea α:-1", exitUsage, "invalid port"},
		{"listen tea α:2147483648", exitUsage, "invalid port"},
		{"listen tea :1", exitUsage, "address \":1\": invalid name: it is empty"},
		{"listen tea a%:1", exitUsage, "it contains '%'"},
		{"listen a/b α:1", exitUsage, "network: invalid name \"a/b\""},
		{"dial tea", exitUsage, "HOST:PORT is missing"},
		{"dial tea α:1 --wait -3s", exitUsage, "--wait -3s: a time is not negative"},
		{"dial tea α:0", exitUsage, "nobody ever listens at port 0"},
		{"dial tea α:1 --as a:b", exitUsage, "host: invalid name \"a:b\""},
		{"expose tea α:1", exitUsage, "TARGET is missing"},
		{"expose tea α:1 host", exitUsage, "address \"host\": invalid port"},
		{"expose tea α:1 :1 --max 0", exitUsage, "--max 0: it is 1 or more"},
		{"forward tea α 1", exitUsage, "HOST:PORT is missing"},
		{"forward tea α x β:1", exitUsage, "address \"x\": invalid port"},
		{"forward tea α 0 β", exitUsage, "missing port"},
		{"forward tea α 0 β:0", exitUsage, "port 0"},
		{"forward tea a:b 0 β:1", exitUsage, "host: invalid name \"a:b\""},
		{"forward tea β 0 β:1 --max -1", exitUsage, "--max -1"},

		{"listen tea α:1", exitFailed, "virtnet lo listen: host α is already on network tea: choose another name, or end the program that has it (\"virtnet lo ls tea\" shows its address)\n"},
		{"expose lonettea α:1 :1", exitFailed, "host α is already on network tea"},
		{"forward tea α 0 β:1", exitFailed, "host α is already on network tea"},
		{"dial tea β:1 --as α", exitFailed, "host α is already on network tea"},
		{"dial tea β:1", exitFailed, "no such host; \"virtnet lo ls tea\" lists the hosts that there are"},
		{"dial tea α:1", exitFailed, "connection refused: nobody listens at that port"},
		{"dial none β:1", exitFailed, "virtnet lo dial: there is no network \"none\"; \"virtnet lo ls\" lists those that there are\n"},
		{"forward tea β unix:" + filepath.Join(tmp, "none", "s") + " α:1", exitFailed, "no such file or directory"},
	} {
		code, stdout, stderr := run(append([]string{"lo"}, strings.Fields(test.args)...)...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("virtnet lo %s: exit code %d, want %d; stderr %q, want %q; stdout %q", test.args, code, test.code, stderr, test.want, stdout)
		}
	}
	if _, stdout, _ := run("lo", "ls"); strings.Contains(stdout, "none") || strings.Contains(stdout, "β") {
		t.Errorf("they have left something:\n%s", stdout)
	}
}

// A full name is that of the network whose it is, unless there is a network with that very name, or none at all.
func TestNetworkName(t *testing.T) {
	tempDir(t)
	join(t, "tea")
	join(t, "lonetcup")
	join(t, "cup")
	for name, want := range map[string]string{
		"tea": "tea", "lonettea": "tea", "lonetcup": "lonetcup", "cup": "cup", "lonetnew": "lonetnew", "lonet": "lonet",
	} {
		if got, err := networkName(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := networkName(t.Context(), ""); err == nil {
		t.Error("an empty name is one")
	}
}
