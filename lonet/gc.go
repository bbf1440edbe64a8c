package lonet

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/virtnet/virtnet/lonet/internal/registry"
)

// GCOptions are the settings of [Config.GC]. The zero value is what "virtnet lo gc" uses.
type GCOptions struct {
	// DryRun finds out everything and removes nothing. SQLite may still tidy up its own files, as when listing.
	DryRun bool
	// Force also removes networks whose registry cannot be read, and those with rows of which nobody can tell whether
	// anybody is there. Those on which a process holds its mark of life stay all the same.
	Force bool
	// MinAge is how long ago a network must have been used to be removed, if nobody has left a mark of life there:
	// programs that leave none cannot always be seen before they have their first host. 0 means a minute, negative
	// that it does not matter.
	MinAge time.Duration
}

// A GCResult is what GC has removed of a network, or would.
type GCResult struct {
	Network string
	Dir     string     // the directory that holds its registry
	Removed bool       // nobody uses the network, and it is removed, with its directory unless there are Foreign files
	Kept    string     // why it is not
	Hosts   []HostInfo // hosts whose process is gone, removed from the registry
	Marks   []string   // names of files that were marks of life of processes that are gone
	Foreign []string   // names of files in the directory that are not lonet's. They stay.
	Err     error      // why something could not be done
}

// GC removes what dead processes have left of the networks on this machine, and the networks that nobody uses. It may
// be called at any time, by several processes at once: who joins meanwhile is on a network with all others who do, and no
// host of a live process is lost. Networks of other users stay. The results are sorted by the networks' names.
//
// It asks programs that leave no mark of life whether they are there, which takes a second for each one that does not
// answer; such a one may be stopped, and its hosts stay. Of c it uses TempDir. The error is that of reading the directory
// of networks, or of ctx; then the results are those so far.
func (c Config) GC(ctx context.Context, options GCOptions) ([]GCResult, error) {
	networks, err := registry.Config{TempDir: c.TempDir}.Networks()
	if err != nil {
		return nil, err
	}
	var results []GCResult
	for _, network := range networks {
		r, err := c.GCNetwork(ctx, network, options)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it went by itself
		case errors.Is(err, registry.ErrNotOurs):
			r.Kept = "it " + registry.ErrNotOurs.Error()
		default:
			r.Err = err
		}
		results = append(results, r)
	}
	return results, nil
}

// GCNetwork is GC for one network. That there is no such network is an error that is fs.ErrNotExist. Err of what it
// returns is nil.
func (c Config) GCNetwork(ctx context.Context, network string, options GCOptions) (GCResult, error) {
	full := "lonet" + network
	reg := registry.Config{TempDir: c.TempDir, Probe: func(ctx context.Context, osladdr, hostname string) (registry.Answer, error) {
		return probe(ctx, full, osladdr, hostname)
	}}
	s, err := reg.GC(ctx, network, registry.GC(options))
	r := GCResult{Network: network, Dir: s.Dir, Removed: s.Removed, Kept: s.Kept, Marks: s.Marks, Foreign: s.Foreign}
	for _, h := range s.Rows {
		r.Hosts = append(r.Hosts, HostInfo{h.Name, h.OSLAddr, Dead})
	}
	return r, err
}
