package cli

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/cmd/virtnet/internal/demo"
)

// processCommand is the hidden command that the demo starts its processes with.
const processCommand = "demo-process"

func newDemo() *cobra.Command {
	var c demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Three processes exchange real files, and one of them is killed in the middle",
		Long: `Demo makes a lonet network and starts three processes on it. Host α serves a directory
over HTTP, hosts β and γ fetch every file. α is killed, as with kill -9, in the middle
of a file; it comes back under its name, and the transfer goes on where it was. In the
end every file must have the SHA-256 that it has on disk.

It takes a few seconds, needs no configuration, and leaves nothing behind. It exits with
0 only if everything held that it checks on the way and the account of it could be
written, with 130 if it was interrupted, and else with 1.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A standard output that nobody reads any more is a failed Write then, not the end of this process:
			// that would leave everything behind.
			ignored := make(chan os.Signal, 1)
			signal.Notify(ignored, syscall.SIGPIPE)
			defer signal.Stop(ignored)
			self, err := os.Executable()
			if err != nil {
				return err
			}
			c.Command = []string{self, processCommand}
			c.Out = cmd.OutOrStdout()
			c.Terminal = isTerminal(c.Out)
			return demo.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&c.Dir, "dir", "", "serve this `directory`, rather than one made for the demo")
	cmd.Flags().BoolVar(&c.JSON, "json", false, "print what happens as JSON, a value a line")
	return cmd
}

func newDemoProcess() *cobra.Command {
	return &cobra.Command{
		Use:    processCommand,
		Hidden: true,
		Args:   atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// An interrupt from the terminal reaches the parent too, which ends this process in good order.
			signal.Ignore(os.Interrupt)
			return demo.Process(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// isTerminal tells whether w is a terminal, or something else that a line can be written over on.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
