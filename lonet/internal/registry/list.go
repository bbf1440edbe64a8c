package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Network is a network as [Config.List] found it.
type Network struct {
	Name      string // without "lonet" before it
	Dir       string
	Processes int    // how many processes are on it now; those that leave no mark are not counted
	Hosts     []Host // sorted by name
	Err       error  // why the rest is not known, e.g. that the network belongs to another user
}

// Host is a row of the registry, as it is: rows may be of processes that are gone, and hold anything if
// others wrote them.
type Host struct {
	Name    string
	OSLAddr string // where its process accepts
	State   State  // of its process; Unmarked also if OSLAddr is not an address
}

// List tells which networks there are, sorted by name, and which hosts are on them. Networks that cannot be read
// are listed with their Err; List itself fails when the directory of networks cannot be read (it need
// not exist) or ctx ends.
//
// It asks no process and makes nothing. What it reads it may read while processes join, write and leave.
func (c Config) List(ctx context.Context) ([]Network, error) {
	names, err := c.Networks()
	if err != nil {
		return nil, err
	}
	var networks []Network
	for _, name := range names {
		n, err := c.ListNetwork(ctx, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // a directory without a registry; or it went
		}
		n.Err = err
		networks = append(networks, n)
	}
	return networks, nil
}

// Networks returns the names of what may be networks, sorted. The directory of networks need not be there.
func (c Config) Networks() (names []string, _ error) {
	entries, err := os.ReadDir(c.Dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() && checkName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// ListNetwork tells which hosts are on one network, as List does. One that is not there is an error that is
// fs.ErrNotExist. Err of the result is nil.
func (c Config) ListNetwork(ctx context.Context, network string) (Network, error) {
	n := Network{Name: network}
	if err := checkName(network); err != nil {
		return n, err
	}
	n.Dir = filepath.Join(c.Dir(), network)
	// A database of another user's is not even opened: SQLite would make files beside it that are ours.
	fi, err := checkNetwork(n.Dir)
	if err != nil {
		return n, err
	}
	if err := n.readMarks(); err != nil {
		return n, err
	}
	if n.Processes == 0 {
		defer keepTime(n.Dir, fi)
	}
	t, err := takeTurn(ctx, n.Dir, false) // else we could find a registry that is being removed, or made
	if err != nil {
		return n, err
	}
	defer t.leave()
	path := registryPath(n.Dir)
	if _, err := os.Stat(path); err != nil {
		return n, err
	}
	// Not read-only: as the last to leave, such a connection would leave SQLite's -wal and -shm behind.
	d, err := openDB(ctx, path, network, false)
	if err != nil {
		return n, fmt.Errorf("%s: %w", path, err)
	}
	defer d.conn.Close()
	var rows []entry
	if err := retry(ctx, func() (err error) { rows, err = d.entries(); return err }); err != nil {
		return n, fmt.Errorf("%s: %w", path, explain(err))
	}
	for _, row := range rows {
		n.Hosts = append(n.Hosts, row.Host)
	}
	return n, n.readMarks()
}

// readMarks counts the processes and gives each host the state of its own.
func (n *Network) readMarks() error {
	entries, err := os.ReadDir(n.Dir)
	if err != nil {
		return err
	}
	n.Processes = 0
	states := make(map[uint16]State)
	for _, e := range entries {
		port, ok := markPort(e.Name())
		if !ok {
			continue
		}
		state, err := checkMark(markPath(n.Dir, port))
		if err != nil {
			return err
		}
		states[port] = state
		if state == Running {
			n.Processes++
		}
	}
	for i := range n.Hosts {
		h := &n.Hosts[i]
		if port, ok := parseAddr(h.OSLAddr); ok {
			h.State = states[port]
		}
	}
	return nil
}
