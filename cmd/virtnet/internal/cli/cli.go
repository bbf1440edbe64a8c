// Package cli is the virtnet command: what its arguments mean, what it prints, and how it exits.
//
// It exits with 0 when what was asked for was done and held, with 1 when not, and with 2 when it does not
// understand the arguments. What was asked for goes to standard output, everything else to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the command with these arguments, and returns the code to exit with. SIGINT and its like end what it
// does, in good order; a second one ends it at once.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer restore()
	context.AfterFunc(ctx, restore)

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errOut, "%s: %v\n", cmd.CommandPath(), err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		fmt.Fprintf(errOut, "Run %q for help.\n", cmd.CommandPath()+" --help")
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "virtnet",
		Short: "TCP-like virtual networks: of one process, of one machine",
		Long: `Virtnet shows and inspects virtual networks, on which programs dial and listen
under host names of their own.

Start with "virtnet demo".`,
		Version:           version(),
		Args:              noCommand,
		RunE:              help,
		SilenceErrors:     true, // Main prints them
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newDemo(), newDemoProcess(), newLo())
	return root
}

// help is what a command does that is only a group of others.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noCommand is what a group of commands says to an argument that is none of them.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		err = fmt.Errorf("%w: did you mean %q?", err, like[0])
	}
	return &usageError{err}
}

// version returns what the go command knows of the version that it has built.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// A usageError says that the command cannot be meant like this.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// understood makes a usageError of what check finds.
func understood(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}
