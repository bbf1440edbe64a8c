package cli

import (
	"github.com/spf13/cobra"
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
