package lonet

import (
	"context"

	"github.com/virtnet/virtnet/lonet/internal/registry"
)

// A NetworkInfo is what [Config.List] finds out about a network.
type NetworkInfo struct {
	Name      string     // as given to Join
	Dir       string     // the directory that holds its registry
	Processes int        // how many live processes are on it, those that leave no mark of life aside
	Hosts     []HostInfo // sorted by name
	Err       error      // why the rest is not known, e.g. that the network belongs to another user
}

// A HostInfo is what the registry of a network has about a host. Others may have written it, and anything
// into it.
type HostInfo struct {
	Name  string
	Addr  string // where its process accepts, "127.0.0.1:port"
	State State
}

// State is what is known of a host's process.
type State int

const (
	// Unknown: the process leaves no mark of life, or Addr is no address. Only a dial tells.
	Unknown State = iota
	// Dead: the process has ended. The name is free for who wants it.
	Dead
	// Alive: the process lives; it may be stopped.
	Alive
)

func (s State) String() string {
	switch s {
	case Dead:
		return "dead"
	case Alive:
		return "alive"
	}
	return "unknown"
}

// List tells which networks there are on this machine, sorted by name, and which hosts are on them. A network
// that cannot be read is in the list with its Err.
//
// It asks no process and takes nothing out of a registry, not even what is dead, so what it tells is how it was a
// moment ago. SQLite may touch files of a network's directory while it reads. Of c it uses TempDir. The error is that of reading the directory of networks, or of ctx.
func (c Config) List(ctx context.Context) ([]NetworkInfo, error) {
	networks, err := registry.Config{TempDir: c.TempDir}.List(ctx)
	list := make([]NetworkInfo, 0, len(networks))
	for _, n := range networks {
		list = append(list, networkInfo(n))
	}
	return list, err
}

// ListNetwork is List for one network. That there is no such network is an error that is fs.ErrNotExist. Err of what
// it returns is nil.
func (c Config) ListNetwork(ctx context.Context, network string) (NetworkInfo, error) {
	n, err := registry.Config{TempDir: c.TempDir}.ListNetwork(ctx, network)
	return networkInfo(n), err
}

func networkInfo(n registry.Network) NetworkInfo {
	info := NetworkInfo{Name: n.Name, Dir: n.Dir, Processes: n.Processes, Err: n.Err}
	for _, h := range n.Hosts {
		state := Unknown
		switch h.State {
		case registry.Gone:
			state = Dead
		case registry.Running:
			state = Alive
		}
		info.Hosts = append(info.Hosts, HostInfo{h.Name, h.OSLAddr, state})
	}
	return info
}
