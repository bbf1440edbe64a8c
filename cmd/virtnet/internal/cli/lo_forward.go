package cli

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

func newLoForward() *cobra.Command {
	var limit int
	var tell tellFlags
	cmd := &cobra.Command{
		Use:   "forward NET HOST LISTEN HOST:PORT",
		Short: "Let an ordinary client reach a virtual address",
		Long: `Forward listens at LISTEN, an address that knows nothing of the network, and leads every
connection to HOST:PORT on the network NET, where it lives as the first HOST. LISTEN is
one of

  port, :port  on the loopback interface; port 0 is any that is free
  host:port    on the interface with that address; [::]:port is all of them
  unix:/path   a Unix socket that only you may use; it is removed in the end

Whoever can reach LISTEN is on the network as HOST: there is no other check. That is said
once more if other machines can.

Each side may end what it sends and go on receiving. When one is reset, or cannot go on,
so is the other: a client is reset, too, when its connection is refused on the network.
Forward that is killed resets all connections; of a client that is killed the other side
sees what the kernel makes of it, which is an end of file where the client had read all it
was sent, and else a reset. A Unix socket knows no reset, and is only closed.

` + networkHelp + `

` + relayHelp,
		Example: `  virtnet lo forward tea β 8080 www:80 &
  curl http://localhost:8080/`,
		Args:              exactly("NET", "HOST", "LISTEN", "HOST:PORT"),
		ValidArgsFunction: complete(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			local, err := parseLocal(args[2])
			if err != nil {
				return err
			}
			addr, err := parseRemote(args[3])
			if err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			return tell.run(cmd, cmd.OutOrStdout(), func(ctx context.Context, t *teller) error {
				l, err := local.listen(ctx) // it may set the process's umask, so the registry isn't open yet
				if err != nil {
					return err
				}
				lx := xnet.WithCtxL(l)
				defer lx.Close()
				return live(ctx, args[0], args[1], func(host *virtnet.Host, network string) error {
					where := addrText(l.Addr())
					t.tell(event{
						Kind: eventReady, Network: network, Host: host.Name(), Listen: where, Target: addr.String(),
						Text: fmt.Sprintf("%s leads to %s on network %s, as host %s", where, addr, network, host.Name()),
					}, true)
					if isOpen(l.Addr()) {
						t.tell(event{
							Kind: eventNote,
							Text: fmt.Sprintf("programs on other machines can connect to %s, and then are on the network", where),
						}, true)
					}
					r := &relay{accept: lx.Accept, to: addr.String(), max: limit, tell: t}
					r.dial = func(ctx context.Context) (net.Conn, error) {
						c, err := host.Dial(ctx, addr.String())
						if err != nil {
							return nil, dialHint(err, network)
						}
						return c, nil
					}
					return r.run(ctx)
				})
			})
		},
	}
	addLimit(cmd, &limit)
	tell.add(cmd, "output")
	return cmd
}
