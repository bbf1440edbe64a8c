// Package cli is the virtnet command: what its arguments mean, what it prints, and how it exits.
//
// It exits with 0 when what was asked for was done and held, with 1 when not, with 2 when it does not
// understand the arguments, and with 130 when it was interrupted; but a command that runs until it is interrupted, as lo
// expose does, exits with 0 then, and lo run as its program does. What was asked for goes to standard output, everything
// else to standard error.
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
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 128 + int(syscall.SIGINT) // as shells have it
)

// errInterrupted is why a signal ends a command.
var errInterrupted = errors.New("interrupted")

// Main runs the command with these arguments, and returns the code to exit with. SIGINT, SIGTERM or SIGHUP ends what
// it does, in good order; a second one ends it at once.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP)
	}
	signalled, restore := signal.NotifyContext(context.Background(), ends...)
	defer restore()
	ctx, cancel := context.WithCancelCause(context.Background())
	context.AfterFunc(signalled, func() {
		cancel(errInterrupted)
		restore()
	})

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		if exit.err != nil {
			fmt.Fprintf(errOut, "%s: %v\n", cmd.CommandPath(), exit.err)
		}
		return exit.code
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	fmt.Fprintf(errOut, "%s: %v\n", cmd.CommandPath(), err)
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
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
		Long: `Virtnet shows virtual networks, on which programs dial and listen under host names of
their own, and brings ordinary programs on them.

Start with "virtnet demo".`,
		Version:       version(),
		Args:          noCommand,
		RunE:          help,
		SilenceErrors: true, // Main prints them
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newDemo(), newDemoProcess(), newLo(), newCA())
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

// An exitError says to exit with a code that is not among those above, once err is printed, if there is one.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// A usageError says that the command cannot be meant like this.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// atMost is what a command says to more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return &usageError{fmt.Errorf("unexpected argument %q", args[n])}
		}
		return nil
	}
}
