package lonet_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virtnet/virtnet/lonet"
)

func TestList(t *testing.T) {
	ctx := t.Context()
	c := lonet.Config{TempDir: t.TempDir()}
	if list, err := c.List(ctx); len(list) != 0 || err != nil {
		t.Errorf("without networks: %v, %v", list, err)
	}

	for _, network := range []string{"one", "two"} {
		n, err := c.Join(ctx, network)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		for _, host := range []string{"β", "α"} {
			if _, err := n.NewHost(ctx, network+host); err != nil {
				t.Fatal(err)
			}
		}
	}
	broken := filepath.Join(c.TempDir, "lonet", "broken")
	if err := os.Mkdir(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "registry.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}

	list, err := c.List(ctx)
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %v, want 3 networks", list, err)
	}
	if n := list[0]; n.Name != "broken" || n.Dir != broken || n.Err == nil {
		t.Errorf("network that cannot be read: %+v", n)
	}
	for i, network := range []string{"one", "two"} {
		n := list[i+1]
		if n.Name != network || n.Dir != filepath.Join(c.TempDir, "lonet", network) || n.Processes != 1 || n.Err != nil {
			t.Errorf("network %s: %+v", network, n)
		}
		var hosts []string
		for _, h := range n.Hosts {
			hosts = append(hosts, h.Name)
			if h.State != lonet.Alive || !strings.HasPrefix(h.Addr, "127.0.0.1:") {
				t.Errorf("network %s: host %+v", network, h)
			}
		}
		if want := []string{network + "α", network + "β"}; !slices.Equal(hosts, want) {
			t.Errorf("network %s: hosts %q, want %q", network, hosts, want)
		}
		if one, err := c.ListNetwork(ctx, network); err != nil || one.Name != network || !slices.Equal(one.Hosts, n.Hosts) {
			t.Errorf("ListNetwork(%q): %+v, %v, want %+v", network, one, err, n)
		}
	}

	if _, err := c.ListNetwork(ctx, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ListNetwork of none: %v, want fs.ErrNotExist", err)
	}
}

func TestStateString(t *testing.T) {
	for state, want := range map[lonet.State]string{lonet.Unknown: "unknown", lonet.Dead: "dead", lonet.Alive: "alive"} {
		if got := state.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
