package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/lonet"
)

func newLo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lo",
		Short: "Look at the lonet networks of this machine",
		Args:  understood(cobra.NoArgs),
		RunE:  help,
	}
	cmd.AddCommand(newLoLs())
	return cmd
}
