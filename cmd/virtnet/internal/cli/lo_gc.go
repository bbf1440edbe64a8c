package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/lonet"
)

func newLoGc() *cobra.Command {
	var options lonet.GCOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gc [NET]",
		Short: "Remove what dead processes and unused networks have left",
		Long: `Gc removes, of the network NET or of all networks, hosts whose process is gone, marks of
life of processes that are gone, and networks that nobody uses, with their directories.
It says what it has removed, and why a network is kept.

It may run at any time, as from cron, and more than once at a time: no host of a process
that lives is lost, be the process stopped, and who joins meanwhile is on one network
with all others who do. It asks programs that leave no mark of life whether they are
there; one that does not answer within a second is kept.

These are kept too:

  networks of other users
  networks that were used in the last minute, if nobody has left a mark of life there
  files that are not lonet's, and the directories they are in
  networks that cannot be read, or judged, without --force; and with it if a process is
  there that has its mark of life

` + networkHelp + `

Gc exits with 1 if something could not be removed or looked at.`,
		Example:           `  virtnet lo gc -n`,
		Args:              atMost(1),
		ValidArgsFunction: complete(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := gc(cmd.Context(), args, options)
			if err != nil && len(results) == 0 {
				return err
			}
			write := writeGC
			if asJSON {
				write = writeGCJSON
			}
			if werr := write(cmd.OutOrStdout(), results, options.DryRun); werr != nil {
				return werr
			}
			return errors.Join(err, gcErrors(results))
		},
	}
	cmd.Flags().BoolVarP(&options.DryRun, "dry-run", "n", false, "say what would be removed, and remove nothing")
	cmd.Flags().BoolVarP(&options.Force, "force", "f", false, "also remove networks that cannot be read, or judged")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// gc removes what is to be removed of the network in args, or of all.
func gc(ctx context.Context, args []string, options lonet.GCOptions) ([]lonet.GCResult, error) {
	if len(args) == 0 {
		return lonet.Config{}.GC(ctx, options)
	}
	r, err := lonet.Config{}.GCNetwork(ctx, args[0], options)
	if short, ok := strings.CutPrefix(args[0], "lonet"); ok && short != "" && errors.Is(err, fs.ErrNotExist) {
		if full, ferr := (lonet.Config{}).GCNetwork(ctx, short, options); !errors.Is(ferr, fs.ErrNotExist) {
			r, err = full, ferr
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no network %q; \"virtnet lo ls\" lists those that there are", args[0])
	}
	if err != nil {
		return nil, err
	}
	return []lonet.GCResult{r}, nil
}

// gcErrors returns what could not be done, of all networks.
func gcErrors(results []lonet.GCResult) (err error) {
	for _, r := range results {
		if r.Err != nil {
			err = errors.Join(err, fmt.Errorf("network %s: %w", printable(r.Network), r.Err))
		}
	}
	return err
}

// writeGC writes what has become of each network, and a summary.
func writeGC(w io.Writer, results []lonet.GCResult, dryRun bool) error {
	removed := "removed"
	if dryRun {
		removed = "would be removed"
	}
	var out strings.Builder
	var networks, kept, hosts, marks int
	for _, r := range results {
		name := printable(r.Network)
		switch {
		case r.Err != nil:
			fmt.Fprintf(&out, "%s: an error, see below\n", name)
		case r.Removed:
			networks++
			fmt.Fprintf(&out, "%s: %s\n", name, removed)
		default:
			kept++
			fmt.Fprintf(&out, "%s: kept, %s\n", name, r.Kept)
		}
		for _, h := range r.Hosts {
			hosts++
			fmt.Fprintf(&out, "  host %s at %s %s, its process is gone\n", printable(h.Name), printable(h.Addr), removed)
		}
		for _, m := range r.Marks {
			marks++
			fmt.Fprintf(&out, "  mark %s %s, its process is gone\n", m, removed)
		}
		for _, f := range r.Foreign {
			fmt.Fprintf(&out, "  %s kept, it is not lonet's\n", printable(f))
		}
	}
	fmt.Fprintf(&out, "%s: %s, %s, %s; kept: %s.\n", strings.ToUpper(removed[:1])+removed[1:],
		count(networks, "network"), count(hosts, "host"), count(marks, "mark"), count(kept, "network"))
	_, err := io.WriteString(w, out.String())
	return err
}

// count counts things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// The JSON document of lo gc.
type (
	gcJSON struct {
		DryRun   bool            `json:"dry_run"`
		Networks []gcNetworkJSON `json:"networks"`
	}
	gcNetworkJSON struct {
		Network string       `json:"network"`
		Dir     string       `json:"dir"`
		Removed bool         `json:"removed"`
		Kept    string       `json:"kept,omitempty"`
		Hosts   []gcHostJSON `json:"hosts"`
		Marks   []string     `json:"marks"`
		Foreign []string     `json:"foreign"`
		Error   string       `json:"error,omitempty"`
	}
	gcHostJSON struct {
		Host string `json:"host"`
		Addr string `json:"addr"`
	}
)

func writeGCJSON(w io.Writer, results []lonet.GCResult, dryRun bool) error {
	doc := gcJSON{DryRun: dryRun, Networks: make([]gcNetworkJSON, 0, len(results))}
	for _, r := range results {
		j := gcNetworkJSON{
			Network: r.Network, Dir: r.Dir, Removed: r.Removed, Kept: r.Kept, Hosts: make([]gcHostJSON, 0, len(r.Hosts)),
			Marks: append([]string{}, r.Marks...), Foreign: append([]string{}, r.Foreign...),
		}
		for _, h := range r.Hosts {
			j.Hosts = append(j.Hosts, gcHostJSON{h.Name, h.Addr})
		}
		if r.Err != nil {
			j.Error = r.Err.Error()
		}
		doc.Networks = append(doc.Networks, j)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
