package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/lonet"
)

func newLo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lo",
		Short: "Look at the lonet networks of this machine",
		Args:  noCommand,
		RunE:  help,
	}
	cmd.AddCommand(newLoLs())
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

Ls asks no process, and changes nothing.`,
		Args: understood(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []lonet.NetworkInfo
			var err error
			if len(args) == 0 {
				list, err = lonet.Config{}.List(cmd.Context())
			} else {
				list = make([]lonet.NetworkInfo, 1)
				list[0], err = lonet.Config{}.ListNetwork(cmd.Context(), args[0])
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("there is no network %q; \"virtnet lo ls\" lists those that there are", args[0])
			case err != nil:
				return err
			case asJSON:
				return writeJSON(cmd.OutOrStdout(), list)
			case len(list) == 0:
				fmt.Fprintln(cmd.ErrOrStderr(), "There are no lonet networks on this machine.")
			}
			return writeTable(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// writeTable writes a line for every host, and one for every network without.
func writeTable(w io.Writer, list []lonet.NetworkInfo) error {
	if len(list) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NETWORK\tHOST\tPROCESS\tSTATE")
	for _, n := range list {
		switch {
		case n.Err != nil:
			fmt.Fprintf(tw, "%s\t-\t-\t%v\n", n.Name, n.Err)
		case len(n.Hosts) == 0:
			fmt.Fprintf(tw, "%s\t-\t-\tno hosts, %s\n", n.Name, processes(n.Processes))
		}
		for _, h := range n.Hosts {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", n.Name, printable(h.Name), printable(h.Addr), h.State)
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
