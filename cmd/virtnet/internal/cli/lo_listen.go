package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

func newLoListen() *cobra.Command {
	var keep bool
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "listen NET HOST:PORT",
		Short: "Accept a connection, on standard input and output",
		Long: `Listen lives on the network NET as HOST, accepts one connection at PORT, sends it what
comes on standard input, and writes what it sends to standard output, byte for byte, as
netcat does. Port 0 is the lowest that is free. A network that is not there is made.

` + talkHelp + `

With --keep it accepts one connection after the other, until it is interrupted, and
writes what they send. It sends them nothing, and reads no standard input.

` + networkHelp + `

It exits with 0 when both sides have ended in good order, with 1 when the connection was
reset or the output could not be written, and with 130 when it was interrupted. With
--keep, being interrupted is its end in good order, and a connection that was reset is
only said on standard error.`,
		Example: `  virtnet lo listen tea α:1 > copy
  virtnet lo dial tea α:1 < original      # elsewhere

  virtnet lo listen --keep tea log:1 >> all.log`,
		Args:              exactly("NET", "HOST:PORT"),
		ValidArgsFunction: complete(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseVirtual(args[1])
			if err != nil {
				return err
			}
			return tell.run(cmd, cmd.ErrOrStderr(), func(ctx context.Context, t *teller) error {
				return live(ctx, args[0], addr.Host, func(host *virtnet.Host, network string) error {
					l, err := host.Listen(ctx, ":"+strconv.Itoa(addr.Port))
					if err != nil {
						return err
					}
					t.tell(event{
						Kind: eventReady, Network: network, Host: host.Name(), Listen: l.Addr().String(),
						Text: fmt.Sprintf("listening at %s on network %s", l.Addr(), network),
					}, true)
					k := &talk{tell: t, in: cmd.InOrStdin(), out: cmd.OutOrStdout()}
					if keep {
						return k.acceptAll(ctx, l)
					}
					return k.acceptOne(ctx, l)
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&keep, "keep", "k", false, "accept one connection after the other, and only receive")
	tell.add(cmd, "error")
	return cmd
}

// acceptOne talks with one connection. Who dials after it is refused.
func (k *talk) acceptOne(ctx context.Context, l xnet.Listener) error {
	c, err := l.Accept(ctx)
	_ = l.Close()
	if err != nil {
		return err
	}
	return k.with(ctx, c, false)
}

// acceptAll receives from one connection after the other until ctx ends, and then returns nil.
func (k *talk) acceptAll(ctx context.Context, l xnet.Listener) error {
	output := &sharedOutput{out: k.out}
	k.in, k.out, k.keep = nil, output, true
	for {
		c, err := l.Accept(ctx)
		if err == nil && k.with(ctx, c, false) != nil && ctx.Err() == nil {
			err = output.err
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// sharedOutput is standard output for one connection after the other: it isn't closed with any, and an error
// of it is one for all.
type sharedOutput struct {
	out io.Writer
	err error
}

func (o *sharedOutput) Write(b []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.out.Write(b)
	}
	return n, o.err
}
