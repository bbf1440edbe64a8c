package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/lonet"
)

func newLo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lo",
		Short: "Use the lonet networks of this machine, from the shell and for ordinary programs",
		Args:  noCommand,
		RunE:  help,
	}
	cmd.AddCommand(newLoLs(), newLoGc(), newLoListen(), newLoDial(), newLoExpose(), newLoForward(), newLoProxy(), newLoRun())
	return cmd
}

func newLoLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [NET]",
		Short: "List networks, their hosts, and whether the hosts' processes are alive",
		Long: `Ls lists the hosts of the network NET, or of all networks, with the address at which
each host's process accepts, and what is known of that process:

  alive    it lives; it may be stopped
  dead     it has ended without a goodbye; the name is free
  unknown  it is a program that leaves no mark of life

NET is the name that programs join, such as tea, or the full one that errors show, lonettea.

Ls asks no process, and takes nothing out of a registry, not even what is dead. The
registry is an SQLite database: reading it can touch files in the network's directory.`,
		Args:              atMost(1),
		ValidArgsFunction: complete(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []lonet.NetworkInfo
			var err error
			if len(args) == 0 {
				list, err = lonet.Config{}.List(cmd.Context())
			} else {
				list = make([]lonet.NetworkInfo, 1)
				list[0], err = listNetwork(cmd.Context(), args[0])
			}
			switch {
			case len(args) > 0 && errors.Is(err, fs.ErrNotExist):
				return noNetwork(args[0])
			case err != nil:
				return err
			case asJSON:
				return writeJSON(cmd.OutOrStdout(), list)
			case len(list) == 0:
				fmt.Fprintln(cmd.ErrOrStderr(), noNetworks(filepath.Join(os.TempDir(), "lonet")))
			}
			return writeTable(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// listNetwork lists the network with that name or, if there is none, the one with that full name. The error is about
// the name as it is given.
func listNetwork(ctx context.Context, name string) (lonet.NetworkInfo, error) {
	n, err := lonet.Config{}.ListNetwork(ctx, name)
	if short, ok := strings.CutPrefix(name, "lonet"); ok && short != "" && errors.Is(err, fs.ErrNotExist) {
		if full, ferr := (lonet.Config{}).ListNetwork(ctx, short); !errors.Is(ferr, fs.ErrNotExist) {
			return full, ferr
		}
	}
	return n, err
}

// noNetworks says that there are no networks in dir.
func noNetworks(dir string) string {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("There are no lonet networks: the directory %s is not there.", dir)
	}
	return fmt.Sprintf("There are no lonet networks in %s.", dir)
}

// writeTable writes a line for every host, and one for every network without.
func writeTable(w io.Writer, list []lonet.NetworkInfo) error {
	if len(list) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NETWORK\tHOST\tADDRESS\tSTATE")
	for _, n := range list {
		network := printable(n.Name)
		switch {
		case n.Err != nil:
			fmt.Fprintf(tw, "%s\t-\t-\t%v\n", network, n.Err)
		case len(n.Hosts) == 0:
			fmt.Fprintf(tw, "%s\t-\t-\tno hosts, %s\n", network, processes(n.Processes))
		}
		for _, h := range n.Hosts {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", network, printable(h.Name), printable(h.Addr), h.State)
		}
	}
	return tw.Flush()
}

// processes counts processes in words.
func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

// printable returns what others have written into a registry in a form that does nothing to a terminal.
func printable(s string) string {
	if q := strconv.Quote(s); s == "" || q != `"`+s+`"` {
		return q
	}
	return s
}

// The JSON document of lo ls.
type (
	loJSON struct {
		Networks []networkJSON `json:"networks"`
	}
	networkJSON struct {
		Network   string     `json:"network"`
		Dir       string     `json:"dir"`
		Processes int        `json:"processes"`
		Hosts     []hostJSON `json:"hosts"`
		Error     string     `json:"error,omitempty"`
	}
	hostJSON struct {
		Host  string `json:"host"`
		Addr  string `json:"addr"`
		State string `json:"state"`
	}
)

func writeJSON(w io.Writer, list []lonet.NetworkInfo) error {
	doc := loJSON{Networks: make([]networkJSON, 0, len(list))}
	for _, n := range list {
		j := networkJSON{Network: n.Name, Dir: n.Dir, Processes: n.Processes, Hosts: make([]hostJSON, 0, len(n.Hosts))}
		if n.Err != nil {
			j.Error = n.Err.Error()
		}
		for _, h := range n.Hosts {
			j.Hosts = append(j.Hosts, hostJSON{h.Name, h.Addr, h.State.String()})
		}
		doc.Networks = append(doc.Networks, j)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
