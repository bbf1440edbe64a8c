package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
)

const relayHelp = `It says where it listens, and with -v when a connection begins and ends, on standard
error; with --json all of that goes to standard output, a JSON value a line. That a
connection could not be led on is said when those before it could.

It runs until it is interrupted, which resets the connections that there are, and then
exits with 0; with 1 when it could not start or go on.`

func newLoExpose() *cobra.Command {
	var limit int
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "expose NET HOST:PORT TARGET",
		Short: "Give an ordinary server a virtual address",
		Long: `Expose lives on the network NET as HOST, listens at PORT (0 is the lowest that is free),
and leads every connection to TARGET, a server that knows nothing of the network. A
network that is not there is made. TARGET is one of

  host:port   :port is one on this machine
  unix:/path  a Unix socket

Each side may end what it sends and go on receiving. When one is reset, or cannot go on,
so is the other. A dial is accepted before TARGET is dialled: while TARGET refuses, the
connection is there, and is reset at once. Expose that is killed resets all connections;
of a server that is killed the other side sees what the kernel makes of it, which is an end
of file where the server had read all it was sent, and else a reset.

` + networkHelp + `

` + relayHelp,
		Example: `  python3 -m http.server --bind 127.0.0.1 8000 &
  virtnet lo expose tea www:80 :8000

  virtnet lo expose tea db:5432 unix:/run/postgresql/.s.PGSQL.5432`,
		Args:              exactly("NET", "HOST:PORT", "TARGET"),
		ValidArgsFunction: complete(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseVirtual(args[1])
			if err != nil {
				return err
			}
			target, err := parseTarget(args[2])
			if err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			return tell.run(cmd, cmd.OutOrStdout(), func(ctx context.Context, t *teller) error {
				return live(ctx, args[0], addr.Host, func(host *virtnet.Host, network string) error {
					l, err := host.Listen(ctx, ":"+strconv.Itoa(addr.Port))
					if err != nil {
						return err
					}
					t.tell(event{
						Kind: eventReady, Network: network, Host: host.Name(), Listen: l.Addr().String(), Target: target.String(),
						Text: fmt.Sprintf("%s on network %s leads to %s", l.Addr(), network, target),
					}, true)
					r := &relay{accept: l.Accept, dial: target.dial, to: target.String(), max: limit, tell: t}
					return r.run(ctx)
				})
			})
		},
	}
	addLimit(cmd, &limit)
	tell.add(cmd, "output")
	return cmd
}

// addLimit adds the flag that bounds how many connections there may be at once.
func addLimit(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "max", 1024, "have at most this `number` of connections at once; the next waits")
}

func checkLimit(limit int) error {
	if limit < 1 {
		return &usageError{fmt.Errorf("--max %d: it is 1 or more", limit)}
	}
	return nil
}
